namespace ArchAzure.FileSystems;

/// <summary>File systems as a running machine has them: a root, and others on directories of it.</summary>
/// <param name="root">The root.</param>
/// <param name="mounts">By their mount points, as <c>/boot</c>. One that cannot be read throws where it is looked into.</param>
internal sealed class MountedFileSystems(FileSystemView root, IReadOnlyDictionary<string, FileSystemView> mounts)
    : FileSystemView(root.Budget)
{
    private readonly List<FileSystemView> _all = [root, .. mounts.Values];

    /// <inheritdoc/>
    public override FileSystemIdentity Identity => root.Identity;

    /// <inheritdoc/>
    protected internal override FileNode Root => new Node(this, root, root.Root, "");

    /// <inheritdoc/>
    protected internal override FileNode? Lookup(FileNode directory, string name)
    {
        var node = (Node)directory;
        return node.FileSystem.Lookup(node.Inner, name) is { } child ? Enter(node, name, child) : null;
    }

    /// <inheritdoc/>
    protected internal override IEnumerable<NodeName> ReadNames(FileNode directory)
    {
        var node = (Node)directory;
        return node.FileSystem.ReadNames(node.Inner).Select(name => new NodeName(name.Name, () => Enter(node, name.Name, name.Open())));
    }

    /// <inheritdoc/>
    protected internal override int ReadContent(FileNode node, long position, Span<byte> buffer) =>
        ((Node)node).FileSystem.ReadContent(((Node)node).Inner, position, buffer);

    /// <inheritdoc/>
    protected internal override byte[] ReadLinkContent(FileNode link) => ((Node)link).FileSystem.ReadLinkContent(((Node)link).Inner);

    private Node Enter(Node directory, string name, FileNode child)
    {
        var path = $"{directory.Path}/{name}";
        return child.Type == FileType.Directory && mounts.TryGetValue(path, out var mounted)
            ? new Node(this, mounted, mounted.Root, path)
            : new Node(this, directory.FileSystem, child, path);
    }

    private sealed class Node : FileNode
    {
        private readonly int _index;

        [System.Diagnostics.CodeAnalysis.SetsRequiredMembers]
        public Node(MountedFileSystems all, FileSystemView fileSystem, FileNode inner, string path)
        {
            (FileSystem, Inner, Path) = (fileSystem, inner, path);
            (Type, Mode, UserId, GroupId, Size) = (inner.Type, inner.Mode, inner.UserId, inner.GroupId, inner.Size);
            _index = all._all.IndexOf(fileSystem);
        }

        public FileSystemView FileSystem { get; }

        public FileNode Inner { get; }

        /// <summary>Where it is; of directories only that matters, and they have one.</summary>
        public string Path { get; }

        // Numbers of subvolumes have 48 bits at most.
        public override (ulong Major, ulong Minor) Key => (Inner.Key.Major, Inner.Key.Minor ^ ((ulong)_index << 56));
    }
}

/// <summary>A file system that cannot be read: whoever looks into it is told why.</summary>
internal sealed class UnreadableFileSystem(ReadBudget budget, FileSystemIdentity identity, ArchAzureException reason)
    : FileSystemView(budget)
{
    /// <inheritdoc/>
    public override FileSystemIdentity Identity => identity;

    /// <inheritdoc/>
    protected internal override FileNode Root => throw reason;

    /// <inheritdoc/>
    protected internal override IEnumerable<NodeName> ReadNames(FileNode directory) => throw reason;

    /// <inheritdoc/>
    protected internal override int ReadContent(FileNode node, long position, Span<byte> buffer) => throw reason;
}
