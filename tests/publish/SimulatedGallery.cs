using System.Text.Json.Nodes;

namespace ArchAzure.PublishTests;

/// <summary>The Compute Gallery's part.</summary>
internal sealed partial class SimulatedResourceManager
{
    private Answer PutGallery(string path, string name, JsonObject body) =>
        name.Contains('-', StringComparison.Ordinal)
            ? Refused(400, "InvalidParameter", $"The value of parameter gallery.name is invalid: '{name}'.")
            : RefusedRegion(body["location"]?.ToString(), "galleries") ?? Put(path, name, WithProperties(body));

    private static JsonObject WithProperties(JsonObject body)
    {
        body["properties"] ??= new JsonObject();
        return body;
    }

    private Answer PutDefinition(string path, string name, JsonObject body)
    {
        if (!Resources.ContainsKey(Key(Parent(Parent(path)))))
        {
            return Refused(404, "ParentResourceNotFound", "The gallery was not found.");
        }

        var identifier = body["properties"]!["identifier"]!.ToJsonString();
        return Resources.ContainsKey(Key(path))
            ? Refused(409, "PropertyChangeNotAllowed", "Changing property 'galleryImage.properties' is not allowed.")
            : Resources.Any(item => item.Key.StartsWith(Key(Parent(path)) + "/", StringComparison.Ordinal)
                && item.Value["properties"]!["identifier"]?.ToJsonString() == identifier)
                ? Refused(409, "Conflict", "An image definition with the same publisher, offer and SKU exists in the gallery.")
                : RefusedRegion(body["location"]?.ToString(), "galleries/images") ?? Put(path, name, body);
    }

    private Answer PutVersion(string path, string name, JsonObject body)
    {
        if (!Resources.ContainsKey(Key(Parent(Parent(path)))))
        {
            return Refused(404, "ParentResourceNotFound", "The image definition was not found.");
        }

        if (Resources.TryGetValue(Key(path), out var there) && there["properties"]!["provisioningState"]!.ToString() != "Failed")
        {
            return Refused(
                409, "PropertyChangeNotAllowed", "Changing property 'galleryImageVersion.properties.storageProfile' is not allowed.");
        }

        // Disks and snapshots are sources here; 'source' is for images and machines.
        var source = body["properties"]!["storageProfile"]!["osDiskImage"]!["source"]!["id"]!.ToString();
        if (!Resources.TryGetValue(Key(source), out var disk) || disk["properties"]!["diskState"]!.ToString() != "Unattached")
        {
            return Refused(400, "InvalidParameter", $"The source '{source}' is not there, or is being uploaded.");
        }

        if (Region(disk["location"]!.ToString()) != Region(body["location"]!.ToString()))
        {
            return Refused(400, "InvalidParameter", "The source must be in the location of the image version.");
        }

        var regions = (JsonArray)body["properties"]!["publishingProfile"]!["targetRegions"]!;
        var names = regions.Select(region => region!["name"]!.ToString()).ToList();
        if (names.Select(region => RefusedRegion(region, "galleries/images/versions")).FirstOrDefault(item => item is not null)
            is { } refused)
        {
            return refused;
        }

        if (!names.Any(region => Region(region) == Region(body["location"]!.ToString())))
        {
            return Refused(400, "InvalidParameter", "The target regions must contain the location of the image version.");
        }

        BeginReplication(body, "Creating", names);
        return Put(path, name, body);
    }

    private Answer PatchVersion(string path, JsonObject body)
    {
        if (!Resources.TryGetValue(Key(path), out var there))
        {
            return NotFound(path);
        }

        var properties = there["properties"]!;
        if (properties["provisioningState"]!.ToString() is "Creating" or "Updating")
        {
            return Refused(409, "Conflict", "An operation on the image version is in progress.");
        }

        var profile = body["properties"]!["publishingProfile"]!;
        var names = ((JsonArray)profile["targetRegions"]!).Select(region => region!["name"]!.ToString()).ToList();
        if (names.Select(region => RefusedRegion(region, "galleries/images/versions")).FirstOrDefault(item => item is not null)
            is { } refused)
        {
            return refused;
        }

        properties["publishingProfile"] = profile.DeepClone();
        BeginReplication(there, "Updating", names);
        return new Answer(200, (JsonObject)there.DeepClone()) { Operation = new Operation() };
    }

    private static void BeginReplication(JsonObject version, string state, IEnumerable<string> regions)
    {
        version["properties"]!["provisioningState"] = state;
        version["properties"]!["replicationStatus"] = new JsonObject
        {
            ["aggregatedState"] = "InProgress",
            ["summary"] = new JsonArray([.. regions.Select(region => (JsonNode)new JsonObject
            {
                ["region"] = region, ["state"] = "Replicating", ["details"] = "", ["progress"] = 0,
            })]),
        };
    }

    /// <summary>A while passes: each region goes on, and the version with them.</summary>
    private void Replicate(JsonObject version)
    {
        if (version["properties"]!["replicationStatus"] is not { } status
            || version["properties"]!["provisioningState"]!.ToString() is not ("Creating" or "Updating"))
        {
            return;
        }

        var regions = (JsonArray)status["summary"]!;
        foreach (var region in regions)
        {
            var progress = Math.Min(100, region!["progress"]!.GetValue<int>() + ReplicationStep);
            var isBroken = region["region"]!.ToString() == BrokenRegion;
            region["progress"] = isBroken ? 0 : progress;
            region["state"] = isBroken ? "Failed" : progress == 100 ? "Completed" : "Replicating";
            region["details"] = isBroken ? "The replication failed for lack of capacity." : "";
        }

        if (regions.All(region => region!["state"]!.ToString() != "Replicating"))
        {
            var isFailed = regions.Any(region => region!["state"]!.ToString() == "Failed");
            status["aggregatedState"] = isFailed ? "Failed" : "Completed";
            version["properties"]!["provisioningState"] = isFailed ? "Failed" : "Succeeded";
        }
    }
}
