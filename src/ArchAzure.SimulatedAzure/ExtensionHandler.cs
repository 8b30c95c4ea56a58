using System.IO.Compression;
using System.Text;

namespace ArchAzure.SimulatedAzure;

/// <summary>An extension handler that the goal state asks the machine to install and enable.</summary>
/// <param name="Name">Publisher and type, e.g. <c>ArchAzure.Test.Shell</c>.</param>
/// <param name="Version">Its version, e.g. <c>1.0.0</c>.</param>
/// <param name="Package">The zip archive with HandlerManifest.json, as the agent unpacks it.</param>
public sealed record ExtensionHandler(string Name, string Version, ReadOnlyMemory<byte> Package)
{
    /// <summary>The public settings, a JSON object.</summary>
    public string PublicSettings { get; init; } = "{}";

    /// <summary>The protected settings, a JSON object, or null; they reach the machine encrypted for its tenant certificate.</summary>
    public string? ProtectedSettings { get; init; }

    /// <summary>The number of these settings; a higher one makes the agent enable the handler again.</summary>
    public int SequenceNumber { get; init; }

    /// <summary><c>enabled</c>, <c>disabled</c> or <c>uninstall</c>.</summary>
    public string State { get; init; } = "enabled";

    /// <summary>Packs a handler.</summary>
    /// <param name="name">Publisher and type.</param>
    /// <param name="version">Its version.</param>
    /// <param name="files">The archive's files by name; <c>HandlerManifest.json</c> must be among them.</param>
    /// <exception cref="ArchAzureException">The manifest is missing.</exception>
    public static ExtensionHandler Pack(string name, string version, IReadOnlyDictionary<string, string> files)
    {
        if (!files.ContainsKey("HandlerManifest.json"))
        {
            throw new ArchAzureException("InvalidExtension", ErrorKind.InvalidInput,
                $"The extension handler {name} has no HandlerManifest.json; the agent takes its commands from there.", name);
        }

        using var bytes = new MemoryStream();
        using (var archive = new ZipArchive(bytes, ZipArchiveMode.Create, leaveOpen: true))
        {
            foreach (var (path, text) in files)
            {
                using var entry = archive.CreateEntry(path).Open();
                entry.Write(Encoding.UTF8.GetBytes(text));
            }
        }

        return new ExtensionHandler(name, version, bytes.ToArray());
    }

    /// <summary>A manifest whose five commands are the given program with the command's name as its argument.</summary>
    /// <param name="program">A path inside the package, e.g. <c>bin/handler.sh</c>.</param>
    public static string Manifest(string program) => $$"""
        [{
          "version": 1.0,
          "handlerManifest": {
            "installCommand": "{{program}} install",
            "enableCommand": "{{program}} enable",
            "updateCommand": "{{program}} update",
            "disableCommand": "{{program}} disable",
            "uninstallCommand": "{{program}} uninstall",
            "rebootAfterInstall": false,
            "reportHeartbeat": false
          }
        }]
        """;
}
