using System.Collections;
using System.Text;

namespace ArchAzure.Containers;

/// <summary>
/// Cuts bytes of UTF-8 into lines. A carriage return ends a line too, as progress bars want it, but only a line feed may end an empty one.
/// Of a line that is longer than the limit the rest is dropped, and the line says so: a program may write for ever without ending one.
/// </summary>
/// <param name="maximumLength">The most bytes kept of a line.</param>
internal sealed class LineCutter(int maximumLength = LineCutter.DefaultMaximumLength)
{
    /// <summary>Far longer than any line that is meant to be read, and short enough to be kept by the dozen.</summary>
    public const int DefaultMaximumLength = 64 << 10;

    private readonly List<byte> _bytes = [];
    private long _dropped;
    private bool _afterReturn;

    /// <summary>Takes some output, and hands over the lines that end in it.</summary>
    public void Add(ReadOnlySpan<byte> added, Action<string> line)
    {
        while (!added.IsEmpty)
        {
            var end = added.IndexOfAny((byte)'\n', (byte)'\r');
            var text = end < 0 ? added : added[..end];
            if (_afterReturn && (!text.IsEmpty || added[0] == (byte)'\r'))
            {
                Flush(line);
            }

            Keep(text);
            _afterReturn = end < 0 ? _afterReturn && text.IsEmpty : added[end] == (byte)'\r';
            if (end < 0)
            {
                return;
            }

            if (!_afterReturn)
            {
                Emit(line);
            }

            added = added[(end + 1)..];
        }
    }

    /// <summary>Hands over what is left when the output has ended.</summary>
    public void Flush(Action<string> line)
    {
        if (_bytes.Count > 0)
        {
            Emit(line);
        }
    }

    private void Keep(ReadOnlySpan<byte> text)
    {
        var kept = Math.Min(text.Length, maximumLength - _bytes.Count);
        _bytes.AddRange(text[..kept]);
        _dropped += text.Length - kept;
    }

    private void Emit(Action<string> line)
    {
        var text = Encoding.UTF8.GetString([.. _bytes]);
        line(_dropped == 0 ? text : $"{text} [the line is cut here: {_dropped} bytes more]");
        _bytes.Clear();
        _dropped = 0;
    }
}

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
    public string this[int index] => index == _lines.Count && IsFull ? $"({_leftOut} more lines are left out; at most {Limits} are kept)" : _lines[index];

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
