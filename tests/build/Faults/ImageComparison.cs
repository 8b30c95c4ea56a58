using ArchAzure.Builds;
using ArchAzure.Disks;

namespace ArchAzure.BuildTests.Faults;

/// <summary>A VHD and the identities its build has recorded.</summary>
internal sealed record ComparedImage(string Vhd, DiskProduct Disk)
{
    public static ComparedImage Of(ArchBuild build) => new(build.VhdPath!, build.Disk!);

    public Partition Root => Disk.Partitions[PartitionPlan.Root];
}

/// <summary>One thing in which two images differ.</summary>
/// <param name="Place">A file of the root, or the place on the disk: <c>/etc/fstab</c>, <c>GPT header</c>, <c>ESP
/// /EFI/BOOT/BOOTX64.EFI</c>.</param>
/// <param name="What">What of it differs: <c>mode</c>, <c>content</c>, <c>times</c>.</param>
/// <param name="Values">The two values, for a person to read.</param>
internal sealed record ImageDifference(string Place, string What, string Values = "")
{
    public override string ToString() => Values.Length == 0 ? $"{Place}: {What}" : $"{Place}: {What} ({Values})";
}

/// <summary>
/// Whether two builds made the same image. Bytes decide where builds are reproducible. For builds that are not, the disk outside the
/// root file system is compared by bytes and the root by its tree, and what two undisturbed builds differ in is listed with its reason
/// in <see cref="MachineMadeDifferences"/>; anything else is a difference.
/// </summary>
internal static class ImageComparison
{
    /// <summary>Every place where the bytes differ; none means that the files are equal.</summary>
    public static async Task<IReadOnlyList<ImageDifference>> BytesAsync(ComparedImage expected, ComparedImage actual)
    {
        var (one, other) = (new FileInfo(expected.Vhd).Length, new FileInfo(actual.Vhd).Length);
        if (one != other)
        {
            return [new("file", "length", $"{one} and {other}")];
        }

        var differing = DifferingBytes.Find(expected.Vhd, actual.Vhd);
        return differing.Blocks.Count == 0 ? [] : await new DiskMap(expected, actual).NameAsync(differing);
    }

    /// <summary>Every difference between the root file systems' trees and package lists, times aside unless asked for.</summary>
    public static async Task<IReadOnlyList<ImageDifference>> TreesAsync(ComparedImage expected, ComparedImage actual, bool times = false)
    {
        await using var one = await MountedRoot.MountAsync(expected);
        await using var other = await MountedRoot.MountAsync(actual);
        return await TreesAsync(one, other, times);
    }

    /// <summary>
    /// What cannot be explained by the time and the identities of two builds. None means that the images are equal in all that counts.
    /// </summary>
    public static async Task<IReadOnlyList<ImageDifference>> UnexplainedAsync(ComparedImage expected, ComparedImage actual)
    {
        var bytes = await BytesAsync(expected, actual);
        if (bytes.Count == 0)
        {
            return [];
        }

        var outside = bytes.Where(
            difference =>
                !difference.Place.StartsWith(DiskMap.RootPlace, StringComparison.Ordinal)
                    && !MachineMadeDifferences.Explain(difference, expected, actual));
        await using var one = await MountedRoot.MountAsync(expected);
        await using var other = await MountedRoot.MountAsync(actual);
        List<ImageDifference> inside = [];
        foreach (var difference in await TreesAsync(one, other, times: false))
        {
            if (difference.What is not ("content" or "size")
                || !MachineMadeDifferences.SameContent(
                    difference.Place, await one.ReadAsync(difference.Place), await other.ReadAsync(difference.Place), expected, actual))
            {
                inside.Add(difference);
            }
        }

        return [.. outside, .. inside];
    }

    private static async Task<IReadOnlyList<ImageDifference>> TreesAsync(MountedRoot one, MountedRoot other, bool times)
    {
        List<ImageDifference> differences = [];
        var (expected, actual) = (await one.EntriesAsync(), await other.EntriesAsync());
        foreach (var path in expected.Keys.Union(actual.Keys, StringComparer.Ordinal).Order(StringComparer.Ordinal))
        {
            if (!actual.TryGetValue(path, out var found))
            {
                differences.Add(new(path, "missing"));
            }
            else if (!expected.TryGetValue(path, out var wanted))
            {
                differences.Add(new(path, "not expected"));
            }
            else
            {
                var facts = wanted.Facts(times).Zip(found.Facts(times));
                differences.AddRange(
                    facts.Where(pair => pair.First.Value != pair.Second.Value)
                        .Select(pair => new ImageDifference(path, pair.First.Name, $"{pair.First.Value} and {pair.Second.Value}")));
            }
        }

        var (packages, found2) = (one.Packages(), other.Packages());
        differences.AddRange(
            packages.Except(found2, StringComparer.Ordinal).Select(package => new ImageDifference("package list", "missing", package)));
        differences.AddRange(
            found2.Except(packages, StringComparer.Ordinal)
                .Select(package => new ImageDifference("package list", "not expected", package)));
        return differences;
    }
}
