using System.Text;
using ArchAzure.SimulatedAzure;
using Xunit;

namespace ArchAzure.UnitTests.SimulatedAzure;

public sealed class UdfVolumeTests
{
    /// <summary>7-Zip reads UDF with code of its own; the test says so and passes nothing where it is not installed.</summary>
    [SkippableFact]
    public void SevenZipExtractsTheSameBytes()
    {
        Skip.IfNot(File.Exists("/usr/bin/7z"), "7z (p7zip-full) is not installed");
        using var folder = new TempFolder();
        var environment = new OvfEnvironment("host", "user") { UserPassword = "a&b", SshPublicKeys = [new string('x', 5000)] };
        File.WriteAllBytes(folder["dvd.iso"], UdfVolume.Create(environment, new DateTimeOffset(2026, 11, 22, 21, 0, 0, TimeSpan.Zero)));

        Tool.Run("/usr/bin/7z", ["x", "-tUDF", "-o" + folder.Path, folder["dvd.iso"]]);

        var text = File.ReadAllText(folder["ovf-env.xml"]);
        Assert.Equal(Encoding.UTF8.GetString(environment.ToXml()), text);
        Assert.Contains("<wa:UserPassword>a&amp;b</wa:UserPassword>", text, StringComparison.Ordinal);
    }
}
