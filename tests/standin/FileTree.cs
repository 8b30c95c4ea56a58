using System.Formats.Tar;
using System.Text;

namespace ArchAzure.StandIn;

/// <summary>The kinds of entries a package holds.</summary>
internal enum EntryKind
{
    Directory,
    File,
    SymbolicLink,
}

/// <summary>One entry of a <see cref="FileTree"/>. Entries that are hard links of each other are the same object.</summary>
internal sealed class TreeEntry
{
    public required EntryKind Kind { get; init; }

    public UnixFileMode Mode { get; set; }

    public int Uid { get; set; }

    public int Gid { get; set; }

    public DateTimeOffset Time { get; init; } = DateTimeOffset.UnixEpoch;

    public byte[] Content { get; set; } = [];

    public string Target { get; init; } = "";

    /// <summary>The value of <c>security.capability</c>, or null.</summary>
    public byte[]? Capability { get; set; }
}

/// <summary>
/// The files of a package, by path without a leading slash, in Arch's layout: everything below <c>/usr</c>, one directory
/// for programs and one for libraries (besides Debian's multiarch directory, which its dynamic linker asks for).
/// </summary>
internal sealed class FileTree
{
    private readonly SortedDictionary<string, TreeEntry> _entries = new(StringComparer.Ordinal);

    public IEnumerable<KeyValuePair<string, TreeEntry>> Entries => _entries;

    public long Size => _entries.Values.Sum(e => (long)e.Content.Length);

    public TreeEntry this[string path] =>
        _entries.TryGetValue(path, out TreeEntry? entry)
            ? entry
            : throw new StandInException($"{path}: no such file in the package; the recipe is out of date with Debian's packages.");

    /// <summary>Where a path of Debian's lies on Arch.</summary>
    public static string ToArchPath(string path)
    {
        path = path.TrimStart('.').Trim('/');
        foreach ((string from, string to) in ((string, string)[])
            [
                ("bin", "usr/bin"), ("sbin", "usr/bin"), ("lib64", "usr/lib"), ("lib", "usr/lib"), ("usr/sbin", "usr/bin"),
                ("usr/lib64", "usr/lib"),
            ])
        {
            if (path == from || path.StartsWith(from + "/", StringComparison.Ordinal))
            {
                return to + path[from.Length..];
            }
        }

        return path;
    }

    public bool Contains(string path) => _entries.ContainsKey(path);

    public TreeEntry? Find(string path) => _entries.GetValueOrDefault(path);

    public void Add(string path, TreeEntry entry)
    {
        // /sbin/x -> /bin/x becomes a link to itself once both are the same directory.
        if (entry.Kind == EntryKind.SymbolicLink && Resolve(path, entry.Target) == path)
        {
            return;
        }

        if (_entries.TryGetValue(path, out TreeEntry? old) && old.Kind == EntryKind.File && entry.Kind == EntryKind.SymbolicLink)
        {
            return;
        }

        for (int slash = path.LastIndexOf('/'); slash > 0; slash = path.LastIndexOf('/', slash - 1))
        {
            _entries.TryAdd(path[..slash], new TreeEntry { Kind = EntryKind.Directory, Mode = (UnixFileMode)0b111_101_101 });
        }

        _entries[path] = entry;
    }

    public void AddFile(string path, byte[] content, UnixFileMode mode = (UnixFileMode)0b110_100_100) =>
        Add(path, new TreeEntry { Kind = EntryKind.File, Mode = mode, Content = content });

    public void AddFile(string path, string content) => AddFile(path, Encoding.UTF8.GetBytes(content));

    public void AddLink(string path, string target)
    {
        _ = _entries.Remove(path);
        Add(path, new TreeEntry { Kind = EntryKind.SymbolicLink, Mode = (UnixFileMode)0b111_111_111, Target = target });
    }

    public void AddDirectory(string path, UnixFileMode mode)
    {
        if (_entries.TryGetValue(path, out TreeEntry? old))
        {
            old.Mode = mode;
        }
        else
        {
            Add(path, new TreeEntry { Kind = EntryKind.Directory, Mode = mode });
        }
    }

    /// <summary>The one path that a pattern of the recipe matches; a plain path as it is.</summary>
    public string Match(string pattern)
    {
        if (!Recipe.IsPattern(pattern))
        {
            return pattern;
        }

        string[] found = [.. _entries.Keys.Where(p => Recipe.Matches(pattern, p)).Take(2)];
        return found.Length == 1
            ? found[0]
            : throw new StandInException(
                $"{pattern} matches {(found.Length == 0 ? "no file" : "several files")} of the package; the recipe is out of date with "
                + "Debian's packages.");
    }

    public void Move(string from, string to)
    {
        TreeEntry entry = this[from];
        _ = _entries.Remove(from);
        Add(to, entry);
    }

    /// <summary>Removes what the predicate takes, and directories that are left empty by it.</summary>
    public void Remove(Predicate<string> unwanted)
    {
        foreach (string path in _entries.Keys.Where(p => unwanted(p)).ToList())
        {
            _ = _entries.Remove(path);
            for (string parent = Parent(path); parent.Length > 0; parent = Parent(parent))
            {
                if (_entries.TryGetValue(parent, out TreeEntry? directory) && directory.Kind == EntryKind.Directory && IsEmpty(parent))
                {
                    _ = _entries.Remove(parent);
                }
            }
        }
    }

    /// <summary>Takes over the content of a tar stream.</summary>
    /// <param name="tar">A tar archive, uncompressed.</param>
    /// <param name="toPath">Maps names of the archive to paths of the tree.</param>
    public void ReadTar(Stream tar, Func<string, string> toPath)
    {
        using TarReader reader = new(tar, leaveOpen: true);
        while (reader.GetNextEntry() is { } entry)
        {
            string path = toPath(entry.Name);
            if (path.Length == 0)
            {
                continue;
            }

            switch (entry.EntryType)
            {
                case TarEntryType.Directory:
                    // /lib and /sbin of Debian are links on Arch; their mode says nothing.
                    if (!_entries.ContainsKey(path))
                    {
                        Add(path, new TreeEntry { Kind = EntryKind.Directory, Mode = entry.Mode, Uid = entry.Uid, Gid = entry.Gid });
                    }

                    break;
                case TarEntryType.RegularFile or TarEntryType.V7RegularFile:
                    using (MemoryStream content = new((int)entry.Length))
                    {
                        entry.DataStream?.CopyTo(content);
                        Add(
                            path,
                            new TreeEntry
                            {
                                Kind = EntryKind.File, Mode = entry.Mode, Uid = entry.Uid, Gid = entry.Gid, Time = entry.ModificationTime,
                                Content = content.ToArray(),
                            });
                    }

                    break;
                case TarEntryType.SymbolicLink:
                    Add(
                        path,
                        new TreeEntry
                        {
                            Kind = EntryKind.SymbolicLink, Mode = (UnixFileMode)0b111_111_111, Time = entry.ModificationTime,
                            Target = entry.LinkName,
                        });
                    break;
                case TarEntryType.HardLink:
                    Add(path, this[toPath(entry.LinkName)]);
                    break;
                default:
                    throw new StandInException($"{entry.Name}: an entry of type {entry.EntryType} is not expected in a package.");
            }
        }
    }

    /// <summary>Writes the tree as tar entries, in name order, hard links kept.</summary>
    /// <param name="tar">Receives the entries.</param>
    /// <param name="prefix">Put before each path.</param>
    public void WriteTar(TarWriter tar, string prefix = "")
    {
        Dictionary<TreeEntry, string> written = new(ReferenceEqualityComparer.Instance);
        foreach ((string path, TreeEntry entry) in _entries)
        {
            string name = prefix + path;
            TarEntryType type = entry.Kind switch
            {
                EntryKind.Directory => TarEntryType.Directory,
                EntryKind.SymbolicLink => TarEntryType.SymbolicLink,
                _ => written.ContainsKey(entry) ? TarEntryType.HardLink : TarEntryType.RegularFile,
            };
            Dictionary<string, string> attributes = [];
            if (entry.Capability is { } capability && type == TarEntryType.RegularFile)
            {
                attributes["LIBARCHIVE.xattr.security.capability"] = Convert.ToBase64String(capability).TrimEnd('=');
            }

            PaxTarEntry item = new(type, type == TarEntryType.Directory ? name + "/" : name, attributes)
            {
                Mode = entry.Mode,
                Uid = entry.Uid,
                Gid = entry.Gid,
                ModificationTime = entry.Time,
            };
            if (type == TarEntryType.SymbolicLink)
            {
                item.LinkName = entry.Target;
            }
            else if (type == TarEntryType.HardLink)
            {
                item.LinkName = prefix + written[entry];
            }
            else if (type == TarEntryType.RegularFile)
            {
                written[entry] = path;
                item.DataStream = new MemoryStream(entry.Content, writable: false);
            }

            tar.WriteEntry(item);
        }
    }

    private static string Parent(string path) => path.LastIndexOf('/') is > 0 and int slash ? path[..slash] : "";

    private static string Resolve(string path, string target)
    {
        Stack<string> parts = new(target.StartsWith('/') ? [] : Parent(path).Split('/', StringSplitOptions.RemoveEmptyEntries));
        foreach (string part in target.Split('/', StringSplitOptions.RemoveEmptyEntries))
        {
            if (part == "..")
            {
                _ = parts.TryPop(out _);
            }
            else if (part != ".")
            {
                parts.Push(part);
            }
        }

        return ToArchPath(string.Join('/', parts.Reverse()));
    }

    private bool IsEmpty(string directory) =>
        !_entries.Keys.Any(
            p => p.Length > directory.Length && p[directory.Length] == '/' && p.StartsWith(directory, StringComparison.Ordinal));
}
