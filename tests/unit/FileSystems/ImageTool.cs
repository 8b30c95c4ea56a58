using System.Diagnostics;
using ArchAzure.FileSystems;

namespace ArchAzure.UnitTests.FileSystems;

/// <summary>Runs the real tools that make images for tests.</summary>
internal static class ImageTool
{
    public static void Run(string name, params string[] arguments) => Run(null, name, arguments);

    public static void Run(Dictionary<string, string>? environment, string name, params string[] arguments)
    {
        // mkfs and sgdisk live in sbin, which users do not have in their PATH.
        var path = Environment.GetEnvironmentVariable("PATH") + ":/usr/sbin:/sbin";
        var file = path.Split(':').Select(directory => Path.Combine(directory, name)).FirstOrDefault(File.Exists)
            ?? throw new InvalidOperationException(
                $"These tests need {name}: install e2fsprogs, dosfstools, mtools, gdisk, libarchive-tools, zstd and btrfs-progs.");
        var start = new ProcessStartInfo(file) { RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false };
        foreach (var argument in arguments)
        {
            start.ArgumentList.Add(argument);
        }

        start.Environment["PATH"] = path;
        foreach (var (key, value) in environment ?? [])
        {
            start.Environment[key] = value;
        }

        using var process = Process.Start(start)!;
        var output = process.StandardOutput.ReadToEndAsync();
        var error = process.StandardError.ReadToEnd();
        process.WaitForExit();
        if (process.ExitCode != 0)
        {
            throw new InvalidOperationException(
                $"{name} {string.Join(' ', arguments)} ended with {process.ExitCode}: {output.Result}{error}");
        }
    }
}

/// <summary>A folder that goes when the test does.</summary>
internal sealed class TemporaryDirectory : IDisposable
{
    // mkfs waits until all is on the disk; in memory that takes no time.
    private static readonly string s_parent = Directory.Exists("/dev/shm") ? "/dev/shm" : System.IO.Path.GetTempPath();

    public string Path { get; } = Directory.CreateDirectory(
        System.IO.Path.Combine(s_parent, $"archazure-test-{Guid.NewGuid():N}")).FullName;

    public string this[string name] => System.IO.Path.Combine(Path, name);

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
