using System.Text.Json;
using System.Text.Json.Serialization;
using ArchAzure.IO;

namespace ArchAzure.Builds;

/// <summary>Reads and writes <c>build.json</c>: one atomic replacement at a time.</summary>
internal static class BuildStore
{
    private static readonly JsonSerializerOptions s_json = new()
    {
        WriteIndented = true,
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
    };

    /// <summary>
    /// Reads the build of a work directory, or null if none was begun there. An older schema is carried over in memory; the next
    /// <see cref="Save"/> writes the current one. So far each schema only adds members that an older file lacks.
    /// </summary>
    /// <exception cref="ArchAzureException"><c>BuildFileDamaged</c> or <c>BuildFileTooNew</c>.</exception>
    public static ArchBuild? TryLoad(WorkDirectory directory)
    {
        string text;
        try
        {
            text = File.ReadAllText(directory.BuildFile);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }

        try
        {
            using var document = JsonDocument.Parse(text);
            var schema = document.RootElement.GetProperty("schema").GetInt32();
            if (schema < ArchBuild.OldestSchema)
            {
                throw new FormatException($"there is no schema {schema}.");
            }

            if (schema > ArchBuild.CurrentSchema)
            {
                throw new ArchAzureException(
                    "BuildFileTooNew",
                    ErrorKind.InvalidData,
                    $"'{directory.BuildFile}' was written by a newer ArchAzure (schema {schema}; this one knows "
                    + $"{ArchBuild.CurrentSchema}). Update the module, or use another work directory.",
                    directory.BuildFile);
            }

            var build = document.Deserialize<ArchBuild>(s_json) ?? throw new JsonException("it holds 'null'");
            CheckComplete(build);
            build = build with { Schema = ArchBuild.CurrentSchema, WorkDirectory = directory.Path };
            return IsCopy(build) ? build with { Id = Reproducibility.Identity(build.Id, RealPath(build.WorkDirectory)) } : build;
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new ArchAzureException(
                "BuildFileDamaged",
                ErrorKind.InvalidData,
                $"'{directory.BuildFile}' cannot be read: {e.Message} Restore it from a copy, or start over: Remove-ArchBuild "
                + $"'{directory.Path}'.",
                directory.BuildFile,
                e);
        }
    }

    /// <summary>
    /// Whether this is a copy of a work directory that is still where it was: it then has an identity of its own, or each would take the
    /// other's containers for leftovers of its own.
    /// </summary>
    private static bool IsCopy(ArchBuild build)
    {
        if (build.Home is not { } home || home == RealPath(build.WorkDirectory))
        {
            return false;
        }

        try
        {
            using var original = JsonDocument.Parse(File.ReadAllText(new WorkDirectory(home).BuildFile));
            return original.RootElement.GetProperty("id").GetGuid() == build.Id;
        }
        catch (Exception e) when (
            e is IOException or ArgumentException or JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            // It was moved, or the original is gone.
            return false;
        }
        catch (UnauthorizedAccessException)
        {
            return true;
        }
    }

    /// <summary>A folder that is named through a link is no copy.</summary>
    private static string RealPath(string folder) => Directory.ResolveLinkTarget(folder, returnFinalTarget: true)?.FullName ?? folder;

    /// <summary>
    /// The deserializer of .NET 8 lets nulls through where none may be, and knows neither steps nor paths; 1e999 is infinite to it, and
    /// cannot be written again.
    /// </summary>
    private static void CheckComplete(ArchBuild build)
    {
        object?[] needed =
        [
            build.Requested, .. build.Requested?.Select(setting => setting.Value) ?? [],
            build.Steps, .. build.Steps ?? [], .. build.Steps?.SelectMany(step => new[] { step?.Name, step?.Inputs }) ?? [],
            .. build.Bootstrap is { } b ? new[] { b.Version, b.FileName, b.Sha256, b.SignedBy, b.BootstrapImage, b.BuilderImage } : [],
            .. (object?[])(build.Disk is { } d ? [d.RootFileSystem, d.Partitions, .. d.Partitions ?? []] : []),
            .. (object?[])(build.Base is { } t ? [t.Kernel, t.Layers] : []),
            .. build.Agent is { } a ? new[] { a.Name, a.Source, a.AgentVersion } : [],
            .. build.Vhd is { } v ? new[] { v.Path } : [],
        ];
        if (Array.IndexOf(needed, null) >= 0 || (build.Disk is { } disk && disk.Partitions.Count != 3))
        {
            throw new JsonException("a value is missing.");
        }

        if (build.Vhd is { } vhd && vhd.Path.Contains('\0', StringComparison.Ordinal))
        {
            throw new JsonException("the VHD's path is none.");
        }

        if (build.Steps!.FirstOrDefault(step => step.Number < 1
            || step.Number > StepName.All.Count
            || !double.IsFinite(step.Seconds)) is { } unknown)
        {
            throw new JsonException($"there is no step {unknown.Number} of {unknown.Seconds} s.");
        }
    }

    /// <summary>Reads the build of a work directory.</summary>
    /// <exception cref="ArchAzureException"><c>BuildNotFound</c>, or as <see cref="TryLoad"/>.</exception>
    public static ArchBuild Load(WorkDirectory directory) =>
        TryLoad(directory) ?? throw new ArchAzureException(
            "BuildNotFound",
            ErrorKind.NotFound,
            $"There is no build in '{directory.Path}' (no build.json). Begin one with New-ArchBootstrap '{directory.Path}', or name the "
            + "right work directory.",
            directory.Path);

    /// <summary>Replaces build.json in one rename, flushed to the disk.</summary>
    public static void Save(WorkDirectory directory, ArchBuild build) =>
        AtomicFile.WriteAllText(
            directory.BuildFile, JsonSerializer.Serialize(build with { Home = RealPath(directory.Path) }, s_json) + "\n");
}
