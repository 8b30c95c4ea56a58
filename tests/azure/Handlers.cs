using ArchAzure.SimulatedAzure;

namespace ArchAzure.AzureTests;

/// <summary>Extension handlers in the layout that the agent expects; each reports what it found.</summary>
internal static class Handlers
{
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
        printf '[{"version":"1.0","timestampUTC":"%s","status":{"name":"shell","operation":"enable","status":"success","code":0,"formattedMessage":{"lang":"en-US","message":"shell was told %s"}}}]' \
            "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$word" > "status/$number.part"
        mv "status/$number.part" "status/$number.status"
        """);

    private static ExtensionHandler Pack(string name, string program, string text) => ExtensionHandler.Pack(name, "1.0.0", new Dictionary<string, string>(StringComparer.Ordinal)
    {
        ["HandlerManifest.json"] = ExtensionHandler.Manifest(program),
        [program] = text.ReplaceLineEndings("\n") + "\n",
    }) with
    { PublicSettings = """{"word":"canary"}""" };
}
