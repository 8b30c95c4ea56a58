using System.Globalization;
using System.Text.RegularExpressions;
using ArchAzure.Disks;

namespace ArchAzure.UnitTests.Disks;

/// <summary>Against real file systems and tools.</summary>
public sealed class InodeListingTests
{
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(700)]
    public void Every_inode_in_use_is_listed_and_no_other(int files)
    {
        using var folder = new TempFolder();
        var tree = folder["tree"];
        Directory.CreateDirectory(tree);
        for (var i = 0; i < files; i++)
        {
            File.WriteAllText(Path.Combine(tree, $"{i}"), "");
        }

        // Many small groups, so that files lie in several of them.
        var image = folder["image"];
        Tool.Run("mke2fs", ["-q", "-t", "ext4", "-g", "1024", "-N", "4096", "-d", tree, image, "32M"]);

        // Holes between them.
        if (files > 1)
        {
            Tool.Run("debugfs", ["-w", "-R", "rm /3", image]);
            Tool.Run("debugfs", ["-w", "-R", "rm /600", image]);
        }

        var listing = new InodeListing();
        foreach (var line in Tool.Run("dumpe2fs", [image]).Split('\n'))
        {
            listing.Add(line);
        }

        var used = listing.InUse().ToList();
        Assert.Equal(Enumerable.Range(1, 11).Select(i => (long)i), used.Take(11));
        Assert.Equal(used.Count, used.Distinct().Count());
        var summary = Tool.Run("dumpe2fs", ["-h", image]);
        Assert.Equal(Number(summary, "Inode count") - Number(summary, "Free inodes"), used.Count);
        foreach (var inode in used.Skip(10).Append(used[^1] + 1))
        {
            Assert.Contains(used.Contains(inode) ? "marked in use" : "not in use", Tool.Run("debugfs", ["-R", $"testi <{inode}>", image]), StringComparison.Ordinal);
            if (files > 100 && inode > 30)
            {
                break;
            }
        }
    }

    private static long Number(string summary, string label) =>
        long.Parse(Regex.Match(summary, $@"^{label}:\s+(\d+)", RegexOptions.Multiline, TimeSpan.FromSeconds(5)).Groups[1].Value, CultureInfo.InvariantCulture);
}
