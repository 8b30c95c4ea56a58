using ArchAzure.FileSystems;

namespace ArchAzure.Readiness;

/// <summary>Programs in a file system of an image.</summary>
internal static class Programs
{
    /// <summary>
    /// Why a program cannot be started, or null if it can: it is there, executable, and so is its interpreter if it is a script.
    /// </summary>
    public static string? Problem(IFileSystemView fileSystem, string program)
    {
        if (fileSystem.GetStatus(program) is not { } status)
        {
            return fileSystem.GetStatus(program, followLinks: false)?.LinkTarget is { } target
                ? $"{program} is a link to {target}, which is not there"
                : $"{program} is not there";
        }

        if (!status.IsExecutable)
        {
            return $"{program} is not executable";
        }

        // A script by a Python that has since been replaced is the way in which an agent gets lost.
        return Interpreter(fileSystem, program) is { } interpreter && fileSystem.GetStatus(interpreter) is not { IsExecutable: true }
            ? $"{program} needs {interpreter}, which is not there"
            : null;
    }

    private static string? Interpreter(IFileSystemView fileSystem, string program)
    {
        using var stream = fileSystem.OpenRead(program);
        var head = new byte[256];
        var length = stream.ReadAtLeast(head, head.Length, throwOnEndOfStream: false);
        if (length < 3 || !head.AsSpan().StartsWith("#!"u8))
        {
            return null;
        }

        var words = System.Text.Encoding.UTF8.GetString(head, 2, length - 2)
            .Split('\n')[0]
            .Split([' ', '\t', '\r'], StringSplitOptions.RemoveEmptyEntries);
        return words switch
        {
            [] => null,
            ["/usr/bin/env", "-S", var name, ..] => $"/usr/bin/{name}",
            ["/usr/bin/env", var name, ..] => $"/usr/bin/{name}",
            _ => words[0],
        };
    }
}
