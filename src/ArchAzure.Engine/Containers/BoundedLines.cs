using System.Collections;

namespace ArchAzure.Containers;

/// <summary>
/// The first lines of many, for who looks at them when all have come: however many there are, they take no more memory than this.
/// Where some are left out, one more line at the end says so, with the limit.
/// </summary>
/// <param name="maximumLines">The most lines.</param>
/// <param name="maximumLength">The most characters of all lines together.</param>
internal sealed class BoundedLines(int maximumLines = 1000, int maximumLength = 1 << 20) : IReadOnlyList<string>
{
    private readonly List<string> _lines = [];
    private long _length;
    private long _leftOut;

    /// <summary>Whether some lines were left out.</summary>
    public bool IsFull => _leftOut > 0;

    /// <summary>How many lines there are, the one that tells of those left out included.</summary>
    public int Count => _lines.Count + (IsFull ? 1 : 0);

    /// <summary>The limits, in words.</summary>
    public string Limits => $"{maximumLines} lines or {maximumLength} characters";

    /// <inheritdoc/>
    public string this[int index] =>
        index == _lines.Count && IsFull ? $"({_leftOut} more lines are left out; at most {Limits} are kept)" : _lines[index];

    /// <summary>Takes a line, or counts it where there is no more room.</summary>
    public void Add(string line)
    {
        if (IsFull || _lines.Count >= maximumLines || _length + line.Length > maximumLength)
        {
            _leftOut++;
            return;
        }

        _length += line.Length;
        _lines.Add(line);
    }

    /// <summary>Forgets all lines.</summary>
    public void Clear()
    {
        _lines.Clear();
        _length = _leftOut = 0;
    }

    /// <inheritdoc/>
    public IEnumerator<string> GetEnumerator() => Enumerable.Range(0, Count).Select(index => this[index]).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}
