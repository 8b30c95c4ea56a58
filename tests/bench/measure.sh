# tests/bench/measure.sh: how run.sh measures, and how it writes down what it found; sourced.
# shellcheck shell=bash

# group_name: the control group of this run. All that it starts is counted there, the Docker engine and its containers too.
group_name=archazure-bench.$$ group= cpu_source="/proc/stat, of the whole machine"

# join_group: moves this script into that group, and has the engine that need_docker is about to start make its containers below it.
join_group() {
    local root=/sys/fs/cgroup
    (( EUID == 0 )) || return 0
    if [[ -e $root/cpuacct/cpuacct.usage ]]; then
        group=$root/cpuacct/$group_name
        mkdir "$group" && echo $$ > "$group/cgroup.procs"
        cpu_source="a control group (version 1)"
    elif [[ -e $root/cgroup.controllers ]]; then
        # A group with groups below it holds no processes of its own.
        group=$root/$group_name
        mkdir -p "$group/client" && echo $$ > "$group/client/cgroup.procs"
        cpu_source="a control group (version 2)"
    fi
    engine_options+=(--exec-opt native.cgroupdriver=cgroupfs "--cgroup-parent=/$group_name/containers")
}

leave_group() {
    [[ -n $group ]] || return 0
    echo $$ > "${group%/*}/cgroup.procs"
    find /sys/fs/cgroup -depth -type d -path "*/$group_name*" -exec rmdir {} + 2> /dev/null || true
}

# cpu_now: microseconds of CPU used so far.
cpu_now() {
    if [[ -e $group/cpuacct.usage ]]; then
        echo $(( $(< "$group/cpuacct.usage") / 1000 ))
    elif [[ -n $group ]]; then
        awk '$1 == "usage_usec" { print $2 }' "$group/cpu.stat"
    else
        awk -v tick="$(getconf CLK_TCK)" '$1 == "cpu" { printf "%d\n", ($2 + $3 + $4 + $7 + $8) * 1e6 / tick }' /proc/stat
    fi
}

# sampled LABEL COMMAND...: runs it once. Each line '@ PHASE' that it writes becomes a sample: the seconds and CPU seconds since the
# line before; '@ start' only begins to count. A line '= NAME VALUE' becomes a sample as it is. At the end comes one of the whole, 'all'.
sampled() {
    local label=$1 line wall cpu first_wall first_cpu before
    shift
    before=$(wc -l < "$samples")
    sync
    first_wall=${EPOCHREALTIME/./} first_cpu=$(cpu_now)
    wall=$first_wall cpu=$first_cpu
    while read -r line; do
        case $line in
            '@ failed') tail -n 20 "$work/$label.log" >&2; die "$label failed; the end of what it said is above." ;;
            '@ '*)
                [[ $line == '@ start' ]] || sample "$label" "${line#@ }" "$wall" "$cpu"
                wall=${EPOCHREALTIME/./} cpu=$(cpu_now)
                ;;
            '= '*) echo "$label ${line#= } 0" >> "$samples" ;;
            *) printf '%s\n' "$line" >> "$work/$label.log" ;;
        esac
    done < <("$@" 2>> "$work/$label.log" < /dev/null || echo '@ failed')
    sample "$label" all "$first_wall" "$first_cpu"
    awk -v before="$before" 'NR > before { printf "   %-12s %-18s %9.2f %9.2f\n", $1, $2, $3, $4 }' "$samples" >&2
}

sample() { # LABEL PHASE WALL CPU: the last two are those at its beginning
    awk -v l="$1" -v p="${2// /_}" -v w=$(( ${EPOCHREALTIME/./} - $3 )) -v c=$(( $(cpu_now) - $4 )) \
        'BEGIN { printf "%s %s %.3f %.3f\n", l, p, w / 1e6, c / 1e6 }' >> "$samples"
}

# median LABEL PHASE[+PHASE...] [wall|cpu]: of the runs' sums over these phases; nothing if there are none.
median() {
    awk -v label="$1" -v phases="+$2+" -v column="$([[ ${3:-wall} == wall ]] && echo 3 || echo 4)" '
        $1 == label && index(phases, "+" $2 "+") { sum[n[$2]++] += $column }
        END { for (i in sum) print sum[i] }' "$samples" | sort -n |
        awk '{ v[NR] = $1 } END { if (NR) printf "%.3f\n", NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

calculate() { awk "BEGIN { printf \"${2:-%.2f}\", $1 }"; }

# pair LABEL PHASES: '12.3 s, 11.0 CPU s'.
pair() { printf '%.2f s, %.2f CPU s' "$(median "$1" "$2" wall)" "$(median "$1" "$2" cpu)"; }

# compare WHAT GOAL LABEL PHASES PEER PEER_LABEL PEER_PHASES: a row of wall and CPU seconds against the peer's; the goal is the most that both
# ratios may be, or '-' where there is none.
compare() {
    local wall cpu
    wall=$(calculate "$(median "$3" "$4") / $(median "$6" "$7")")
    cpu=$(calculate "$(median "$3" "$4" cpu) / $(median "$6" "$7" cpu)")
    row "$1" "$(pair "$3" "$4")" "$5: $(pair "$6" "$7")" "$wall, CPU $cpu" "$2" "$wall" "$cpu"
}

# limit WHAT GOAL UNIT VALUE [PEER]: a row of one number that may not be more than the goal.
limit() { row "$1" "$4 $3" "${5:--}" - "$2" "$4"; }

# row WHAT OURS PEER RATIO GOAL VALUE...: met if no value is more than the goal.
row() {
    local what=$1 ours=$2 peer=$3 ratio=$4 goal=$5 met=yes value
    shift 5
    for value in "$@"; do awk "BEGIN { exit !($value <= ${goal/-/1e9}) }" || met='**no**'; done
    [[ $goal != - ]] || met=-
    printf '| %s | %s | %s | %s | %s | %s |\n' "$what" "$ours" "$peer" "$ratio" "${goal/#[0-9]/≤ &}" "$met" | tee -a "$work/rows"
}

# write_table NAME NOTE: puts the rows made since the last time between the marks '<!-- NAME -->' and '<!-- /NAME -->' of RESULTS.md. What is
# outside of marks is written by people and stays.
write_table() {
    local results=$here/tests/bench/RESULTS.md
    {
        printf '%s, commit %s, on %s. Medians of runs in turn (%s each); CPU seconds by %s.%s\n\n' \
            "$(date +%F)" "$commit" "$machine" "$runs" "$cpu_source" "${2:+ $2}"
        printf '| | ArchAzure | peer | ratio | goal | met |\n|---|---|---|---|---|---|\n'
        cat "$work/rows"
    } > "$work/block"
    rm "$work/rows"
    awk -v name="$1" -v block="$work/block" '
        $0 == "<!-- /" name " -->" { inside = 0 }
        !inside
        $0 == "<!-- " name " -->" { inside = 1; while ((getline line < block) > 0) print line }' "$results" > "$work/results"
    cat "$work/results" > "$results"
}

# plot: draws standard input, lines 'SERIES GIB VALUE', with both axes logarithmic, as an SVG.
plot() {
    awk '
        function x(gib) { return 60 + 460 * log(gib / low) / log(high / low) }
        function y(value) { return 330 - 300 * log(value / bottom) / log(top / bottom) }
        BEGIN { split("#1b6ca8 #c1440e #2e7d32 #6a1b9a #b8860b #455a64", colour, " ") }
        {
            if (!($1 in seen)) { seen[$1] = ++count; name[count] = $1 }
            gib[NR] = $2; value[NR] = $3; series[NR] = seen[$1]
            if (!low || $2 < low) low = $2
            if ($2 > high) high = $2
            if (!least || $3 < least) least = $3
            if ($3 > most) most = $3
        }
        END {
            bottom = 10 ^ int(log(least) / log(10) - (least < 1)); top = bottom
            while (top <= most) top *= 10
            print "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"720\" height=\"380\" font-family=\"sans-serif\" font-size=\"12\">"
            print "<rect width=\"720\" height=\"380\" fill=\"white\"/>"
            for (v = bottom; v <= top * 1.01; v *= 10) {
                printf "<path d=\"M60 %.1fH520\" stroke=\"#ddd\"/><text x=\"54\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n", y(v), y(v) + 4, v
            }
            for (i = 1; i <= NR; i++) if (!(gib[i] in labelled)) {
                labelled[gib[i]] = 1
                printf "<text x=\"%.1f\" y=\"350\" text-anchor=\"middle\">%g GiB</text>\n", x(gib[i]), gib[i]
            }
            for (s = 1; s <= count; s++) {
                points = ""
                for (i = 1; i <= NR; i++) if (series[i] == s) {
                    points = points sprintf("%.1f,%.1f ", x(gib[i]), y(value[i]))
                    printf "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", x(gib[i]), y(value[i]), colour[s]
                }
                gsub("_", " ", name[s])
                printf "<polyline points=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"/>\n", points, colour[s]
                printf "<text x=\"540\" y=\"%d\" fill=\"%s\">%s</text>\n", 40 + 20 * s, colour[s], name[s]
            }
            print "<text x=\"290\" y=\"372\" text-anchor=\"middle\">size of the disk</text>\n</svg>"
        }'
}
