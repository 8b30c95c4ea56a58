using System.Text;
using ArchAzure.FileSystems;
using ArchAzure.Readiness;
using ArchAzure.UnitTests.FileSystems;

namespace ArchAzure.UnitTests.Readiness;

/// <summary>An image's file system that is only a list of texts, for parsers that need no more.</summary>
internal sealed class MemoryFileSystem(Dictionary<string, string> files) : FileSystemView(new ReadBudget())
{
    public override FileSystemIdentity Identity { get; } = new(FileSystemKind.Unknown, "memory");

    protected internal override FileNode Root => Open("");

    protected internal override IEnumerable<NodeName> ReadNames(FileNode directory) => files.Keys
        .Where(path => path.StartsWith(((Node)directory).Path + "/", StringComparison.Ordinal))
        .Select(path => path[(((Node)directory).Path.Length + 1)..].Split('/')[0])
        .Distinct(StringComparer.Ordinal)
        .Select(name => new NodeName(name, () => Open($"{((Node)directory).Path}/{name}")));

    protected internal override int ReadContent(FileNode node, long position, Span<byte> buffer)
    {
        ((Node)node).Content.AsSpan((int)position, buffer.Length).CopyTo(buffer);
        return buffer.Length;
    }

    private Node Open(string path)
    {
        var content = files.TryGetValue(path, out var text) ? Encoding.UTF8.GetBytes(text) : null;
        return new Node { Path = path, Content = content
            ?? [], Type = content is null ? FileType.Directory : FileType.File, Mode = 0x1ED, Size = content?.Length
            ?? 0 };
    }

    private sealed class Node : FileNode
    {
        public required string Path { get; init; }

        public required byte[] Content { get; init; }

        public override (ulong, ulong) Key => ((ulong)(uint)Path.GetHashCode(StringComparison.Ordinal), (ulong)Path.Length);
    }
}
