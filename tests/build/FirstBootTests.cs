using ArchAzure.Builds;
using ArchAzure.Target;

namespace ArchAzure.BuildTests;

/// <summary>
/// What a machine does for itself at its first boot and later, run in the target of the shared image: killed at any moment, the next boot
/// finishes it; and logs do not fill the disk.
/// </summary>
[Collection(Pipeline.Name)]
public sealed class FirstBootTests(Pipeline pipeline)
{
    // 'boot UNIT' does what systemd does at a boot, by the unit's own conditions and commands. 'cut SCRIPT UNIT' does it with the power
    // cut before the script's first command, then the second and so on, until one boot goes through; 'check' looks at what each has left.
    private const string Boots = """
        set -euo pipefail
        fail() { echo "$*" >&2; exit 1; }
        files() { ls /etc/systemd/system/"$1" /usr/lib/systemd/system/"$1" /etc/systemd/system/"$1".d/*.conf 2> /dev/null || true; }
        due() { systemd-analyze condition --unit="$1" &> /dev/null; }
        boot() {
            due "$1" || return 0
            sed -nE 's/^ExecStart(Post)?=-?//p' $(files "$1") | while read -r command; do $command < /dev/null || exit; done &> /tmp/boot.log || fail "$1: $(< /tmp/boot.log)"
        }
        export -f fail files due boot
        # The power goes for programs in the background too.
        cut_power() { pkill -KILL gpg || true; pkill -KILL pacman-key || true; }
        cat > /tmp/cut << 'EOF'
        if [[ $0 == "$VICTIM" ]]; then number=0; trap '(( ++number != CUT_AT )) || kill -KILL 0' DEBUG; fi
        EOF
        cut() {
            local at status
            for (( at = 1; ; at++ )); do
                status=0
                VICTIM=$1 CUT_AT=$at BASH_ENV=/tmp/cut setsid --wait bash -c "boot $2" || status=$?
                (( status != 0 )) || break
                (( status == 137 )) || fail "A boot that was not cut off ended with $status."
                cut_power
                check "at command $at of $1"
            done
            (( at > 5 )) || fail "$1 was not cut: $(< /tmp/boot.log)"
        }

        """;

    private const string Keyring = Boots + """
        unit=pacman-keyring.service keyring=/etc/pacman.d/gnupg
        base64 --decode <<< "$1" > /tmp/package
        base64 --decode <<< "$2" > /tmp/package.sig
        usable() { pacman-key --verify /tmp/package.sig /tmp/package; }

        """;

    [Fact]
    public Task Keyring_is_made_by_the_next_boot_if_the_first_is_cut_off() => InTargetAsync(Keyring + """
        ! due nothing.service || fail 'Every condition holds here.'
        ! usable || fail 'There is a keyring before the first boot.'
        for moment in '^gpg .*--gen-key' '^/bin/bash /usr/bin/pacman-key .*--populate'; do
            setsid bash -c "boot $unit" &
            until pgrep --full "$moment" > /dev/null; do kill -0 $! || fail "It was over before '$moment'."; done
            kill -KILL -- -$!
            cut_power
            ! usable || fail "There is a keyring already at '$moment'."
            wait $! || true
        done
        boot "$unit"
        usable || fail "No keyring after the third boot: $(< /tmp/boot.log)"

        # The rest of the moments with a keyring that takes no time.
        cp -a "$keyring" /tmp/made
        printf '#!/bin/sh\n[ $3 != --init ] || exec cp -a /tmp/made "$2"\n' > /usr/local/bin/pacman-key
        chmod 755 /usr/local/bin/pacman-key
        export PATH=/usr/local/bin:$PATH
        usable() { /usr/bin/pacman-key --verify /tmp/package.sig /tmp/package; }
        check() {
            if ! due "$unit"; then
                usable || fail "Cut off $1: it counts as done, and is of no use."
                rm "$keyring/pubring.gpg"
            fi
        }
        rm "$keyring/pubring.gpg"
        cut /usr/lib/archazure/pacman-keyring "$unit"
        usable || fail "No keyring after many boots: $(< /tmp/boot.log)"
        ! ls -d "$keyring".* || fail 'There are remains.'
        [[ $(stat --format %a "$keyring" "$keyring/pubring.gpg" "$keyring/private-keys-v1.d") == $'755\n644\n700' ]] || fail 'The modes are wrong.'
        """, Package());

    [Fact]
    public Task Keyring_is_made_around_the_sockets_of_systemd_and_a_user_s_own_is_left_alone() => InTargetAsync(Keyring + """
        # As Arch's pacman has it: systemd listens for gpg-agent there before anything else starts.
        mkdir --parents "$keyring"
        python -c "import socket; socket.socket(socket.AF_UNIX).bind('$keyring/S.gpg-agent')"
        socket=$(stat --format %i "$keyring/S.gpg-agent")
        boot "$unit"
        [[ $(stat --format %i "$keyring/S.gpg-agent") == "$socket" ]] || fail 'The socket is gone.'
        rm "$keyring/S.gpg-agent"
        usable || fail "No keyring: $(< /tmp/boot.log)"

        rm -r "$keyring"
        pacman-key --init
        before=$(find "$keyring" -type f -exec sha256sum {} +)
        boot "$unit"
        cut_power
        [[ $(find "$keyring" -type f -exec sha256sum {} +) == "$before" ]] || fail "The user's own keyring was changed."
        """, Package());

    [Fact]
    public Task Host_keys_of_no_length_are_made_again() => InTargetAsync(Boots + """
        mkdir --parents /run/sshd
        boot sshdgenkeys.service
        sshd -t || fail 'sshd would not start after the first boot.'
        ! due sshdgenkeys.service || fail 'They would be made again.'
        for key in /etc/ssh/ssh_host_*_key; do
            truncate --size=0 "$key" "$key.pub"
        done
        ! sshd -t || fail 'sshd does without.'
        before=$(ls /etc/ssh)
        boot sshdgenkeys.service
        sshd -t || fail 'sshd would not start after the second boot.'
        [[ $(ls /etc/ssh) == "$before" && -z $(find /etc/ssh -name 'ssh_host_*' -size 0) ]] || fail "$(ls -l /etc/ssh)"
        """);

    [Fact]
    public Task A_new_machine_s_first_boot_is_finished_by_the_next() => InTargetAsync(Boots + """
        unit=archazure-new-machine.service old=0123456789abcdef0123456789abcdef new=fedcba9876543210fedcba9876543210
        record=/var/lib/archazure/machine-id
        remains() { find /etc/pacman.d/gnupg /etc/ssh/sshd_config.d/50-* /etc/ssh/ssh_host_* "/var/log/journal/$old" -mindepth 0 ! -name gnupg ! -type s 2> /dev/null || true; }
        mkdir --parents "${record%/*}" /etc/pacman.d/gnupg/private-keys-v1.d "/var/log/journal/$old"
        touch /etc/pacman.d/gnupg/{pubring.gpg,private-keys-v1.d/A.key} "/var/log/journal/$old/system.journal" /etc/ssh/sshd_config.d/50-{azure-password,cloud-init}.conf /etc/ssh/ssh_host_rsa_key{,.pub}
        python -c "import socket; socket.socket(socket.AF_UNIX).bind('/etc/pacman.d/gnupg/S.gpg-agent')"
        echo "$old" > "$record"
        echo "$new" > /etc/machine-id
        [[ $(remains | wc -l) -ge 9 ]] || fail "$(remains)"
        check() { [[ $(< "$record") != "$new" || -z $(remains) ]] || fail "Cut off $1: it counts as done, and there is still $(remains)"; }
        cut /usr/lib/archazure/new-machine "$unit"
        [[ $(< "$record") == "$new" ]] || fail 'It is not recorded.'
        check 'not at all'
        [[ -S /etc/pacman.d/gnupg/S.gpg-agent ]] || fail 'The socket is gone.'

        touch /etc/ssh/sshd_config.d/50-azure-password.conf
        boot "$unit"
        [[ -n $(remains) ]] || fail 'A machine that kept its id was taken for another.'
        """);

    [Fact]
    public Task Logs_are_rotated_while_they_are_written() => InTargetAsync(Boots + """
        [[ $(systemctl is-enabled logrotate.timer) == enabled ]] || fail 'The timer is not enabled.'
        printf '%s' "$1" > /etc/logrotate.d/archazure-cloud-init
        rotate() { boot logrotate.service; [[ ! -s /tmp/boot.log ]] || fail "$(< /tmp/boot.log)"; }
        rotate

        # The agent's own logger, which lives on; an extension that keeps its log open; cloud-init.
        agent=/var/log/waagent.log extension=/var/log/azure/Example.Canary/extension.log cloud=/var/log/cloud-init.log
        mkdir --parents "${extension%/*}"
        coproc python -c "
        import sys
        sys.path.insert(0, '/usr/lib/waagent')
        from azurelinuxagent.common import logger
        logger.add_logger_appender(logger.AppenderType.FILE, logger.LogLevel.INFO, '$agent')
        for line in sys.stdin:
            logger.info(line.strip())
            print('written', flush=True)
        "
        say() { echo "$1" >&${COPROC[1]}; read -r <&${COPROC[0]}; echo "$1" >&7; echo "$1" >> "$cloud"; }
        exec 7>> "$extension"
        say first
        chmod 0640 "$agent" "$cloud"
        chown 1:2 "$agent" "$cloud"
        rotate
        ! ls -d "$agent".* "$extension".* || fail 'A small log of today was rotated.'

        say canary
        fill() { head --bytes=11M /dev/zero | tee --append "$agent" "$extension" >> "$cloud"; }
        fill
        rotate
        say later
        for log in "$agent" "$extension" "$cloud"; do
            [[ $(wc --lines < "$log") == 1 && $(< "$log") == *later ]] || fail "$log: $(ls -l "$log"*)"
            grep --text --quiet canary <(zcat "$log.1.gz") || fail "$log.1.gz has not what was before."
        done
        [[ $(stat --format '%a %u %g' "$agent") == '640 1 2' && $(stat --format '%a %u %g' "$cloud") == '640 1 2' ]] || fail 'Mode or owner is lost.'

        for (( i = 0; i < 10; i++ )); do fill; rotate; done
        [[ $(ls "$agent" "$agent".*.gz | wc -l) == 10 && $(ls "$extension" "$extension".*.gz "$cloud" "$cloud".*.gz | wc -l) == 10 ]] || fail "$(ls -lR /var/log)"
        (( $(du --summarize --bytes /var/log | awk '{ print $1 }') < 4000000 )) || fail "$(ls -lR /var/log)"
        """, File.ReadAllText(Path.Combine(TestSetup.Layers, "cloud-init/files/etc/logrotate.d/archazure-cloud-init")));

    private async Task InTargetAsync(string script, params string[] arguments)
    {
        await using var build = await TestBuild.AfterStepAsync(pipeline, 4);
        await new TargetAccess(build.Directory, build.Reporter)
            .RunAsync(["bash", "-c", script, "bash", .. arguments], null, false, (_, _) => { }, default);
    }

    // A package of the mirror and its signature.
    private static string[] Package()
    {
        var package = Directory.GetFiles(Path.Combine(TestSetup.StandIn, "core/os/x86_64"), "archlinux-keyring-*.pkg.tar.zst").Single();
        return [Convert.ToBase64String(File.ReadAllBytes(package)), Convert.ToBase64String(File.ReadAllBytes(package + ".sig"))];
    }
}
