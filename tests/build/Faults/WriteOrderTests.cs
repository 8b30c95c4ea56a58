using System.Text.RegularExpressions;

namespace ArchAzure.BuildTests.Faults;

/// <summary>
/// What a power cut may find: a product's bytes are on the disk before it gets its name, its name before build.json's bytes, and those
/// before build.json has its name. Without that order a file system may bring back build.json and not what it names.
/// </summary>
[Collection(Pipeline.Name)]
public sealed partial class WriteOrderTests(Pipeline pipeline)
{
    [Fact]
    [Trait("Speed", "slow")]
    public async Task Every_product_is_flushed_before_build_json_names_it()
    {
        var build = await pipeline.SmallBuildAsync();
        var calls = (await File.ReadAllLinesAsync(pipeline.SmallTrace)).SelectMany(Call.Read).ToList();
        var directory = build.Directory;
        var vhd = build.State.VhdPath!;
        string[] products =
        [
            directory.Disk, directory.Snapshot(3), directory.Snapshot(4), vhd, vhd + ".cdx.json",
            Path.Combine(directory.Path, "SHA256SUMS"), Path.Combine(directory.Path, "FSVERITYSUMS"),
        ];
        foreach (var product in products)
        {
            var named = calls.FindLastIndex(call => call.Kind == "rename" && call.To == product);
            Assert.True(named >= 0, $"Nothing was renamed to '{product}'.");
            IsDurable(named);

            var recorded = calls.FindIndex(named, call => call.Kind == "rename" && call.To == directory.BuildFile);
            Assert.True(recorded > FolderFlush(named), $"build.json was replaced before the folder of '{product}' was flushed.");
        }

        var states = calls.Select((call, index) => (call, index))
            .Where(pair => pair.call.Kind == "rename" && pair.call.To == directory.BuildFile)
            .ToList();
        Assert.True(states.Count >= 5, $"build.json was replaced {states.Count} times only.");
        Assert.All(states, state => IsDurable(state.index));

        // A file's bytes before its name, and then the folder.
        void IsDurable(int rename)
        {
            var (from, to) = (calls[rename].From, calls[rename].To);
            Assert.True(
                calls.FindLastIndex(rename, call => call.Kind == "sync" && call.From == from) >= 0,
                $"'{from}' was renamed to '{to}' without having been flushed.");
            Assert.True(FolderFlush(rename) > rename, $"The folder of '{to}' was not flushed after the rename.");
        }

        int FolderFlush(int rename) =>
            calls.FindIndex(rename, call => call.Kind == "sync" && call.From == Path.GetDirectoryName(calls[rename].To));
    }

    private sealed partial record Call(string Kind, string From, string To)
    {
        public static IEnumerable<Call> Read(string line)
        {
            if (Sync().Match(line) is { Success: true } sync)
            {
                yield return new Call("sync", sync.Groups[1].Value, "");
            }
            else if (Rename().Match(line) is { Success: true } rename)
            {
                yield return new Call("rename", rename.Groups[1].Value, rename.Groups[2].Value);
            }
        }

        // 123 fsync(172</work/build.json.part>) = 0; with threads also 'fsync(172</work/x> <unfinished ...>'.
        [GeneratedRegex(@"\bf(?:data)?sync\(\d+<([^>]+)>", RegexOptions.None, 1000)]
        private static partial Regex Sync();

        [GeneratedRegex("""\brename(?:at2?)?\([^"]*"([^"]+)", [^"]*"([^"]+)"[^=]*(?:= 0|unfinished)""", RegexOptions.None, 1000)]
        private static partial Regex Rename();
    }
}
