using ArchAzure.IO;

namespace ArchAzure.FileSystems;

/// <summary>The content of one file of an image.</summary>
internal sealed class NodeStream(FileSystemView fileSystem, FileNode node) : ReadOnlyStream(node.Size)
{
    /// <inheritdoc/>
    protected override int ReadAt(long position, Span<byte> buffer) => fileSystem.ReadContent(node, position, buffer);
}
