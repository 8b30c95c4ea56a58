using System.Text;
using ArchAzure.FileSystems;

namespace ArchAzure.UnitTests.FileSystems;

#pragma warning disable CA1416 // These tests need Linux's tools.

/// <summary>A root file system in the making: paths with content, links, directories.</summary>
internal sealed class Tree
{
    private readonly SortedDictionary<string, Entry> _entries = new(StringComparer.Ordinal);

    public IEnumerable<string> Paths => _entries.Keys;

    public string this[string path]
    {
        get => Encoding.UTF8.GetString(_entries[path].Content!);
        set => File(path, Encoding.UTF8.GetBytes(value));
    }

    public void File(string path, byte[] content, UnixFileMode mode = (UnixFileMode)0b110_100_100) =>
        _entries[path] = new(content, null, mode);

    public void Link(string path, string target) => _entries[path] = new(null, target, default);

    public void Folder(string path) => _entries[path] = new(null, null, (UnixFileMode)0b111_101_101);

    public void Remove(string path)
    {
        if (!_entries.Remove(path))
        {
            throw new ArgumentException($"There is no {path} to remove.", nameof(path));
        }
    }

    public void Replace(string path, string old, string @new)
    {
        var text = this[path];
        this[path] = text.Contains(old, StringComparison.Ordinal)
            ? text.Replace(old, @new, StringComparison.Ordinal)
            : throw new ArgumentException($"{path} does not contain {old}.", nameof(old));
    }

    public Tree Clone()
    {
        var clone = new Tree();
        foreach (var (path, entry) in _entries)
        {
            clone._entries[path] = entry;
        }

        return clone;
    }

    public void WriteTo(string directory)
    {
        foreach (var (path, entry) in _entries)
        {
            var full = directory + path;
            Directory.CreateDirectory(Path.GetDirectoryName(full)!);
            if (entry.Link is not null)
            {
                System.IO.File.CreateSymbolicLink(full, entry.Link);
            }
            else if (entry.Content is not null)
            {
                System.IO.File.WriteAllBytes(full, entry.Content);
                System.IO.File.SetUnixFileMode(full, entry.Mode);
            }
            else
            {
                Directory.CreateDirectory(full);
            }
        }
    }

    private sealed record Entry(byte[]? Content, string? Link, UnixFileMode Mode);
}
