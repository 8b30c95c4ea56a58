using System.Collections.Concurrent;
using System.IO.Compression;
using System.Text;
using System.Text.Json;
using System.Xml.Linq;
using ArchAzure.SimulatedAzure;

namespace ArchAzure.AzureTests;

/// <summary>An extension handler in the layout that the agent expects; it reports what it was told.</summary>
/// <param name="Name">Publisher and type.</param>
/// <param name="Package">The zip archive with HandlerManifest.json, as the agent unpacks it.</param>
internal sealed record ExtensionHandler(string Name, byte[] Package)
{
    private const string Version = "1.0.0";
    private const string Storage = "http://168.63.129.16:80";

    /// <summary>The word it is told.</summary>
    public string Word { get; init; } = "canary";

    /// <summary>The number of these settings; a higher one makes the agent enable the handler again.</summary>
    public int SequenceNumber { get; init; }

    /// <summary>One that asks for `python`, as most of Azure's do.</summary>
    public static ExtensionHandler Python { get; } = Pack("ArchAzure.Test.Python", "bin/handler.py",
        """
        #!/usr/bin/env python
        import glob, json, os, sys, time
        base = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        if sys.argv[1] == "enable":
            number = max(int(os.path.basename(name).split(".")[0]) for name in glob.glob(base + "/config/*.settings"))
            with open("%s/config/%d.settings" % (base, number)) as file:
                public = json.load(file)["runtimeSettings"][0]["handlerSettings"]["publicSettings"]
            status = [{"version": "1.0", "timestampUTC": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "status": {
                "name": "python", "operation": "enable", "status": "success", "code": 0,
                "formattedMessage": {"lang": "en-US", "message": "python %d was told %s" % (sys.version_info[0], public["word"])}}}]
            with open("%s/status/%d.status.part" % (base, number), "w") as file:
                json.dump(status, file)
            os.rename("%s/status/%d.status.part" % (base, number), "%s/status/%d.status" % (base, number))
        """);

    /// <summary>One in plain shell.</summary>
    public static ExtensionHandler Shell { get; } = Pack("ArchAzure.Test.Shell", "bin/handler.sh",
        """
        #!/bin/sh
        set -eu
        [ "$1" = enable ] || exit 0
        cd "$(dirname "$0")/.."
        number=$(ls config | sed -n 's/\.settings$//p' | sort -n | tail -n 1)
        word=$(grep -o '"word": *"[^"]*"' "config/$number.settings" | cut -d '"' -f 4)
        printf '[{"version":"1.0","timestampUTC":"%s","status":{"name":"shell","operation":"enable","status":"success","code":0,%s}}]' \
            "$(date -u +%Y-%m-%dT%H:%M:%SZ)" \
            "\"formattedMessage\":{\"lang\":\"en-US\",\"message\":\"shell was told $word\"}" > "status/$number.part"
        mv "status/$number.part" "status/$number.status"
        """);

    /// <summary>A goal state that asks the machine to install and enable these, and nothing else.</summary>
    public static GoalState Publish(GoalState goal, params ExtensionHandler[] handlers)
    {
        var artifacts = new Dictionary<string, HttpResponse>(StringComparer.Ordinal);
        foreach (var handler in handlers)
        {
            artifacts[handler.ManifestPath] = HttpResponse.Text(200, "text/xml; charset=utf-8", handler.Manifest().ToString());
            artifacts[handler.PackagePath] = new HttpResponse(200, "application/zip", handler.Package);
        }

        return goal with
        {
            Incarnation = goal.Incarnation + 1,
            Time = DateTimeOffset.UtcNow,
            Artifacts = artifacts,
            Extensions =
            [
                new XElement("Plugins", handlers.Select(handler => handler.Plugin(
                    new XAttribute("location", Storage + handler.ManifestPath),
                    new XAttribute("state", "enabled"),
                    new XAttribute("autoUpgrade", "false"),
                    new XAttribute("failoverlocation", Storage + handler.ManifestPath),
                    new XAttribute("runAsStartupTask", "false"),
                    new XAttribute("isJson", "true"),
                    new XAttribute("useExactVersion", "true")))),
                new XElement("PluginSettings", handlers.Select(handler => handler.Plugin(
                    new XElement("RuntimeSettings", new XAttribute("seqNo", handler.SequenceNumber), handler.Settings())))),
            ],
        };
    }

    private string ManifestPath => $"/artifacts/{Name}/manifest.xml";

    private string PackagePath => $"/artifacts/{Name}/{Version}.zip";

    private XElement Plugin(params object[] content) =>
        new("Plugin", new XAttribute("name", Name), new XAttribute("version", Version), content);

    private XElement Manifest() => new("PluginVersionManifest",
        new XElement("Plugins", new XElement("Plugin",
            new XElement("Version", Version),
            new XElement("Uris", new XElement("Uri", Storage + PackagePath)))),
        new XElement("InternalPlugins"));

    private string Settings() =>
        JsonSerializer.Serialize(
            new { runtimeSettings = new[] { new { handlerSettings = new { publicSettings = new { word = Word } } } } });

    private static ExtensionHandler Pack(string name, string program, string text)
    {
        Dictionary<string, object> commands = new(StringComparer.Ordinal) { ["rebootAfterInstall"] = false, ["reportHeartbeat"] = false };
        foreach (var command in (string[])["install", "enable", "update", "disable", "uninstall"])
        {
            commands[command + "Command"] = $"{program} {command}";
        }

        using var bytes = new MemoryStream();
        using (var archive = new ZipArchive(bytes, ZipArchiveMode.Create, leaveOpen: true))
        {
            Add(archive, "HandlerManifest.json", JsonSerializer.Serialize(new[] { new { version = 1.0, handlerManifest = commands } }));
            Add(archive, program, text.ReplaceLineEndings("\n") + "\n");
        }

        return new ExtensionHandler(name, bytes.ToArray());
    }

    private static void Add(ZipArchive archive, string path, string text)
    {
        using var entry = archive.CreateEntry(path).Open();
        entry.Write(Encoding.UTF8.GetBytes(text));
    }
}

/// <summary>What the agent's status blob says of an extension handler.</summary>
/// <param name="Name">The handler's name.</param>
/// <param name="HandlerStatus">E.g. <c>Ready</c>, <c>NotReady</c>, <c>Installing</c>.</param>
/// <param name="Status">
/// The status of the settings, e.g. <c>success</c>, <c>transitioning</c>, <c>error</c>, or null before there is one.
/// </param>
/// <param name="Code">The status' code, or the handler's.</param>
/// <param name="Message">The words of the status, or the handler's.</param>
/// <param name="SequenceNumber">The number of the settings, or null.</param>
internal sealed record ExtensionStatus(string Name, string HandlerStatus, string? Status, int? Code, string? Message, int? SequenceNumber)
{
    public bool IsFinal => Status is "success" or "error" or "warning";

    public bool IsFailure => HandlerStatus is "NotReady" or "Unresponsive" && Code is not (null or 0);

    public static ExtensionStatus Parse(JsonElement handler)
    {
        string? status = null, message = MessageOf(handler);
        int? code = CodeOf(handler), sequence = null;
        if (handler.TryGetProperty("runtimeSettingsStatus", out var runtime))
        {
            sequence = runtime.TryGetProperty("sequenceNumber", out var number) ? number.GetInt32() : null;
            var settings = runtime.GetProperty("settingsStatus").GetProperty("status");
            status = settings.GetProperty("status").GetString();

            // Of settings that the handler could not apply the agent reports a placeholder; the handler's words are the reason then.
            var failed = handler.GetProperty("status").GetString() == "NotReady";
            code = failed ? code ?? CodeOf(settings) : CodeOf(settings) ?? code;
            message = failed ? message ?? MessageOf(settings) : MessageOf(settings) ?? message;
        }

        return new ExtensionStatus(
            handler.GetProperty("handlerName").GetString()!, handler.GetProperty("status").GetString()!, status, code, message, sequence);
    }

    private static int? CodeOf(JsonElement element) =>
        element.TryGetProperty("code", out var code) && code.ValueKind == JsonValueKind.Number ? code.GetInt32() : null;

    private static string? MessageOf(JsonElement element) =>
        element.TryGetProperty("formattedMessage", out var formatted) && formatted.ValueKind == JsonValueKind.Object
        && formatted.TryGetProperty("message", out var message) ? message.ToString() : null;
}

/// <summary>The last status of each extension handler.</summary>
internal sealed class ExtensionStatuses
{
    private readonly ConcurrentDictionary<string, ExtensionStatus> _statuses = new(StringComparer.OrdinalIgnoreCase);

    public ExtensionStatuses(SimulatedPlatform platform) => platform.StatusReported += aggregate =>
    {
        foreach (var status in aggregate.GetProperty("handlerAggregateStatus").EnumerateArray().Select(ExtensionStatus.Parse))
        {
            _statuses[status.Name] = status;
        }
    };

    public IReadOnlyCollection<ExtensionStatus> All => [.. _statuses.Values];

    /// <summary>That of a handler with these settings or later ones.</summary>
    public ExtensionStatus? Find(ExtensionHandler handler) =>
        _statuses.TryGetValue(handler.Name, out var status)
            && (status.SequenceNumber ?? handler.SequenceNumber) >= handler.SequenceNumber ? status : null;

    public void Clear() => _statuses.Clear();
}
