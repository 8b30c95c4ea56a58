namespace ArchAzure.FileSystems;

/// <summary>A file, directory or link as a reader knows it.</summary>
internal abstract class FileNode
{
    /// <summary>Tells the node from all others of its file system.</summary>
    public abstract (ulong Major, ulong Minor) Key { get; }

    public required FileType Type { get; init; }

    public required int Mode { get; init; }

    public uint UserId { get; init; }

    public uint GroupId { get; init; }

    public required long Size { get; init; }
}

/// <summary>One name in a directory.</summary>
/// <param name="Name">The name.</param>
/// <param name="Open">Reads the node it names.</param>
internal readonly record struct NodeName(string Name, Func<FileNode> Open);

/// <summary>What all readers share: walking paths, following links, limits.</summary>
internal abstract class FileSystemView(ReadBudget budget) : IFileSystemView
{
    /// <summary>The most bytes of names a directory may have; the largest of a distribution's packages need less than 1 MiB.</summary>
    protected const int MaximumDirectoryBytes = 4 << 20;

    // PATH_MAX and the number of links in Linux (path_resolution(7)).
    private const int MaximumLinkLength = 4096;
    private const int MaximumLinks = 40;
    private const int MaximumPathLength = 1 << 16;

    // Directories are kept as long as these numbers allow, the longest unused one goes first. A tree is walked down and back up,
    // so without this a hostile image could have its largest directory read for every file in it.
    private const int CachedDirectories = 256;
    private const long CachedBytes = 32 << 20;

    // What a name takes besides its characters: the string, the way to its node, and its place in the listing.
    private const int BytesOfName = 200;

    private readonly Dictionary<(ulong, ulong), Listing> _directories = [];
    private long _cachedBytes;
    private long _clock;

    public abstract FileSystemIdentity Identity { get; }

    public ReadBudget Budget => budget;

    protected internal abstract FileNode Root { get; }

    protected virtual StringComparer NameComparer => StringComparer.Ordinal;

    public FileStatus? GetStatus(string path, bool followLinks = true)
    {
        var node = Find(path, followLinks);
        return node is null
            ? null
            : new(node.Type, node.Mode, node.UserId, node.GroupId, node.Size, node.Type == FileType.SymbolicLink ? ReadLink(node) : null);
    }

    public IReadOnlyList<string> ReadDirectory(string path)
    {
        var node = Find(path, followLinks: true);
        return node is null || node.Type != FileType.Directory ? [] : List(node).Sorted;
    }

    public Stream OpenRead(string path) => new NodeStream(this, FindFile(path));

    public byte[] ReadAllBytes(string path, int maximumLength)
    {
        var node = FindFile(path);
        if (node.Size > maximumLength)
        {
            throw DiskErrors.TooLarge($"the file {path} has {node.Size} bytes; at most {maximumLength} are expected.");
        }

        budget.Spend(ReadCost.Memory, node.Size);
        var bytes = new byte[node.Size];
        ReadFully(node, 0, bytes);
        return bytes;
    }

    /// <summary>Reads a directory's names without '.' and '..'; at most <see cref="MaximumDirectoryBytes"/> of it.</summary>
    protected internal abstract IEnumerable<NodeName> ReadNames(FileNode directory);

    /// <summary>Reads some bytes of a file's content, at least one; the range lies within the node's size.</summary>
    protected internal abstract int ReadContent(FileNode node, long position, Span<byte> buffer);

    /// <summary>Reads a symbolic link's target; of file systems that have such.</summary>
    protected internal virtual byte[] ReadLinkContent(FileNode link)
    {
        var bytes = new byte[link.Size];
        ReadFully(link, 0, bytes);
        return bytes;
    }

    /// <summary>Fills a buffer with the zeros of a hole: they lie nowhere on the disk, but whoever reads them takes his time too.</summary>
    protected void ReadHole(Span<byte> buffer)
    {
        budget.Spend(ReadCost.Bytes, buffer.Length);
        buffer.Clear();
    }

    protected void ReadFully(FileNode node, long position, Span<byte> buffer)
    {
        while (!buffer.IsEmpty)
        {
            var count = ReadContent(node, position, buffer);
            position += count;
            buffer = buffer[count..];
        }
    }

    private string ReadLink(FileNode link) =>
        link.Size <= MaximumLinkLength
            ? ((ReadOnlySpan<byte>)ReadLinkContent(link)).Text()
            : throw DiskErrors.Damaged($"a symbolic link has a target of {link.Size} bytes.");

    private FileNode FindFile(string path)
    {
        var node = Find(path, followLinks: true);
        return node?.Type == FileType.File
            ? node
            : throw new ArchAzureException("ImageFileNotFound", ErrorKind.NotFound, $"The image has no file {path}.", path);
    }

    /// <summary>The node of one name in a directory, or null.</summary>
    protected internal virtual FileNode? Lookup(FileNode directory, string name) =>
        List(directory).Names.TryGetValue(name, out var open) ? open() : null;

    /// <summary>The node at a path, or null; links are followed inside the image only.</summary>
    protected FileNode? Find(string path, bool followLinks)
    {
        var pending = new Stack<string>();
        var pendingLength = 0;
        void Push(string target)
        {
            if (pendingLength + target.Length > MaximumPathLength)
            {
                throw DiskErrors.Damaged($"the symbolic links of {path[..Math.Min(path.Length, 200)]} make too long a path.");
            }

            foreach (var part in target.Split('/', StringSplitOptions.RemoveEmptyEntries).Reverse())
            {
                pending.Push(part);
                pendingLength += part.Length;
            }
        }

        Push(path);
        var links = 0;
        var walked = new Stack<FileNode>();
        walked.Push(Root);
        while (pending.TryPop(out var part))
        {
            budget.Spend(ReadCost.Lookups, 1);
            pendingLength -= part.Length;
            if (part == ".")
            {
                continue;
            }

            if (part == "..")
            {
                // The root's parent is the root: no link leaves the image.
                if (walked.Count > 1)
                {
                    walked.Pop();
                }

                continue;
            }

            if (walked.Peek().Type != FileType.Directory || Lookup(walked.Peek(), part) is not { } node)
            {
                return null;
            }

            if (node.Type != FileType.SymbolicLink || (pending.Count == 0 && !followLinks))
            {
                walked.Push(node);
                continue;
            }

            if (++links > MaximumLinks)
            {
                return null;
            }

            var target = ReadLink(node);
            if (target.StartsWith('/'))
            {
                walked.Clear();
                walked.Push(Root);
            }

            Push(target);
        }

        return walked.Peek();
    }

    private Listing List(FileNode directory)
    {
        if (!_directories.TryGetValue(directory.Key, out var listing))
        {
            listing = new(NameComparer);
            foreach (var (name, open) in ReadNames(directory))
            {
                budget.Spend(ReadCost.Names, 1);
                if (name is not ("" or "." or "..") && !name.Contains('/', StringComparison.Ordinal))
                {
                    listing.Add(name, open);
                }
            }

            while (_directories.Count > 0 && (_directories.Count >= CachedDirectories || _cachedBytes + listing.Bytes > CachedBytes))
            {
                var (oldest, old) = _directories.MinBy(cached => cached.Value.LastUse);
                _directories.Remove(oldest);
                _cachedBytes -= old.Bytes;
            }

            _directories[directory.Key] = listing;
            _cachedBytes += listing.Bytes;
        }

        listing.LastUse = ++_clock;
        return listing;
    }

    private sealed class Listing(StringComparer comparer)
    {
        private string[]? _sorted;

        public Dictionary<string, Func<FileNode>> Names { get; } = new(comparer);

        public IReadOnlyList<string> Sorted => _sorted ??= [.. Names.Keys.Order(StringComparer.Ordinal)];

        public long Bytes { get; private set; }

        public void Add(string name, Func<FileNode> open)
        {
            if (Names.TryAdd(name, open))
            {
                Bytes += BytesOfName + (2 * name.Length);
            }
        }

        public long LastUse { get; set; }
    }
}
