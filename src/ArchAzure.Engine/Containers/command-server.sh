# Runs commands one after another: a start by the engine takes 70 ms and as much processor time each. A request is a line with a mark,
# the number of words and the bytes of the input; then the words, each ended by a NUL; then the input. The command's output is followed
# by a NUL, the mark and the status, on both streams. Only who knows the mark can end a command's output, and it is in no command line.
set -uo pipefail
input=/run/command-input done=/run/command-done

while read -r mark words bytes; do
    mapfile -d '' -n "$words" -t command
    if (( bytes > 0 )); then
        # What ran before may have put a link there. A file, not a pipe: what a command does not read must not be taken for a request.
        rm -rf "$input"
        ( set -C; exec head --bytes="$bytes" > "$input" )
        "${command[@]}" < "$input"
    else
        "${command[@]}" < /dev/null
    fi
    status=$?
    printf '\0%s %d\n' "$mark" "$status"
    printf '\0%s %d\n' "$mark" "$status" >&2
    rm -rf "$done"
    ( set -C; printf %s "$mark" > "$done" )
done
