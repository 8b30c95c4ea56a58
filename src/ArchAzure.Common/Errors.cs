namespace ArchAzure;

/// <summary>What kind of thing went wrong. The cmdlets map each kind to a PowerShell error category.</summary>
public enum ErrorKind
{
    /// <summary>A parameter, a setting or a file given by the user is not acceptable.</summary>
    InvalidInput,

    /// <summary>Something that must be there is not: a file, an image, an earlier step.</summary>
    NotFound,

    /// <summary>The user may not do this (socket, folder).</summary>
    PermissionDenied,

    /// <summary>Another run holds the resource, or it is used up.</summary>
    ResourceBusy,

    /// <summary>Not enough disk space or the wrong kind of file system.</summary>
    ResourceUnavailable,

    /// <summary>A download, a mirror or the Docker engine could not be reached or broke off.</summary>
    ConnectionError,

    /// <summary>A checksum, a signature or a file format is not right.</summary>
    InvalidData,

    /// <summary>A command in the builder ended with an error.</summary>
    CommandFailed,
}

/// <summary>
/// An error a person is meant to read: it names the thing, the reason and the remedy.
/// The message is complete on its own; <see cref="ErrorId"/> is stable and can be tested in scripts.
/// </summary>
public class ArchAzureException : Exception
{
    /// <summary>Creates the error.</summary>
    /// <param name="errorId">A stable PascalCase id, e.g. <c>DockerEngineNotFound</c>.</param>
    /// <param name="kind">The kind of failure.</param>
    /// <param name="message">What happened to which thing, why, and what to do about it; whole sentences.</param>
    /// <param name="target">The thing the error is about (a path, an address, a setting), if there is one.</param>
    /// <param name="inner">The cause.</param>
    public ArchAzureException(string errorId, ErrorKind kind, string message, object? target = null, Exception? inner = null)
        : base(Showable(message), inner)
    {
        ErrorId = errorId;
        Kind = kind;
        Target = target;
    }

    /// <summary>A stable PascalCase id.</summary>
    public string ErrorId { get; }

    /// <summary>The kind of failure.</summary>
    public ErrorKind Kind { get; }

    /// <summary>The thing the error is about, or null.</summary>
    public object? Target { get; }

    /// <summary>
    /// A text with '?' for its control characters but tabs and line breaks: messages quote files and servers, and nothing in these
    /// is to command the terminal that shows it.
    /// </summary>
    internal static string Showable(string text) => string.Create(text.Length, text, (result, from) =>
    {
        for (var i = 0; i < result.Length; i++)
        {
            var isPlain = !char.IsControl(from[i]) || from[i] is '\n' or '\t'
                || (from[i] == '\r' && i + 1 < from.Length && from[i + 1] == '\n');
            result[i] = isPlain ? from[i] : '?';
        }
    });
}
