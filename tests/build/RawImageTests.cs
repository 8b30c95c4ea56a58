using System.Text.Json;

namespace ArchAzure.BuildTests;

/// <summary>ConvertTo-AzureVhd -Path, of any raw image, at the prompt.</summary>
[Collection(Pipeline.Name)]
public sealed class RawImageTests
{
    [Fact]
    public async Task A_copy_is_rounded_up_sparse_and_leaves_the_image_alone()
    {
        using var folder = new TempFolder();
        var image = await SparseImageAsync(folder, "65M");
        await Tool.RunAsync("truncate", "--size=+1", image);
        var before = new FileInfo(image).Length;
        var result = await Pwsh.RunAsync($"(ConvertTo-AzureVhd -Path {Pwsh.Quote(image)}).FullName");
        Assert.True(result.ExitCode == 0, result.All);
        var vhd = folder["disk.vhd"];
        Assert.Contains(vhd, result.Output, StringComparison.Ordinal);
        Assert.Equal((66L << 20) + 512, new FileInfo(vhd).Length);
        Assert.Equal(before, new FileInfo(image).Length);
        using var information = JsonDocument.Parse(await Tool.RunAsync("qemu-img", "info", "-f", "vpc", "--output=json", vhd));
        Assert.Equal(66L << 20, information.RootElement.GetProperty("virtual-size").GetInt64());
        Assert.InRange(await AllocatedAsync(vhd), 1, 4 << 20);
        await Tool.RunAsync("cmp", "--bytes", $"{before}", image, vhd);
    }

    [Fact]
    public async Task In_place_the_file_itself_becomes_the_vhd()
    {
        using var folder = new TempFolder();
        var image = await SparseImageAsync(folder, "1024M");
        var inode = await Tool.RunAsync("stat", "--format=%i", image);
        var result = await Pwsh.RunAsync($"$null = ConvertTo-AzureVhd -Path {Pwsh.Quote(image)} -InPlace");
        Assert.True(result.ExitCode == 0, result.All);
        Assert.False(File.Exists(image));
        Assert.Equal(inode, await Tool.RunAsync("stat", "--format=%i", folder["disk.vhd"]));
        Assert.Equal((1024L << 20) + 512, new FileInfo(folder["disk.vhd"]).Length);
    }

    [Theory]
    [InlineData("vpc", "fixed", "NotARawImage", "a VHD already")]
    [InlineData("vpc", "dynamic", "NotARawImage", "dynamic VHD")]
    [InlineData("vhdx", null, "NotARawImage", "VHDX")]
    [InlineData("qcow2", null, "NotARawImage", "qcow2")]
    [InlineData("empty", null, "RawImageEmpty", "is empty")]
    [InlineData("missing", null, "RawImageNotFound", "There is no file")]
    public async Task What_is_no_raw_image_is_refused(string format, string? kind, string errorId, string named)
    {
        using var folder = new TempFolder();
        var image = folder["disk.img"];
        switch (format)
        {
            case "missing":
                break;
            case "empty":
                await File.WriteAllBytesAsync(image, []);
                break;
            default:
                await Tool.RunAsync(
                    "qemu-img", ["create", "-q", "-f", format, .. kind is null ? [] : new[] { "-o", $"subformat={kind}" }, image, "16M"]);
                break;
        }

        var before = File.Exists(image) ? await Tool.RunAsync("sha256sum", image) : "";
        foreach (var option in new[] { "", " -InPlace" })
        {
            var result = await Pwsh.RunAsync(
                $"try {{ ConvertTo-AzureVhd -Path {Pwsh.Quote(image)}{option} }} catch {{ $_.FullyQualifiedErrorId; $_.Exception.Message; "
                + $"exit 7 }}");
            Assert.True(result.ExitCode == 7, result.All);
            Assert.StartsWith(errorId + ",", result.Output, StringComparison.Ordinal);
            Assert.Contains($"'{image}'", result.Output, StringComparison.Ordinal);
            Assert.Contains(named, result.Output, StringComparison.Ordinal);
        }

        Assert.Equal(before, File.Exists(image) ? await Tool.RunAsync("sha256sum", image) : "");
        Assert.DoesNotContain(Directory.EnumerateFiles(folder.Path), file => file != image);
    }

    [Fact]
    public async Task An_existing_vhd_is_replaced_with_force_only()
    {
        using var folder = new TempFolder();
        var image = await SparseImageAsync(folder, "16M");
        var vhd = folder.Write("disk.vhd", "mine");
        var path = Pwsh.Quote(image);
        var result = await Pwsh.RunAsync(
            $"try {{ ConvertTo-AzureVhd -Path {path} }} catch {{ $_.FullyQualifiedErrorId }}\nif "
            + $"([IO.File]::ReadAllText({Pwsh.Quote(vhd)}) -ne 'mine') {{ exit 8 }}\n$null = ConvertTo-AzureVhd -Path {path} -Force");
        Assert.True(result.ExitCode == 0, result.All);
        Assert.StartsWith("DestinationExists,", result.Output, StringComparison.Ordinal);
        Assert.Equal((16L << 20) + 512, new FileInfo(vhd).Length);
    }

    private static async Task<string> SparseImageAsync(TempFolder folder, string size)
    {
        var image = folder["disk.img"];
        await Tool.RunAsync("truncate", $"--size={size}", image);
        await using var file = File.OpenWrite(image);
        file.Position = 5 << 20;
        await file.WriteAsync("somewhere in the middle"u8.ToArray());
        return image;
    }

    private static async Task<long> AllocatedAsync(string file) => long.Parse(await Tool.RunAsync("stat", "--format=%b", file)) * 512;
}
