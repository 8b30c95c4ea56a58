namespace ArchAzure.Readiness.Rules;

/// <summary>
/// Nothing in the image tells one machine from others: all machines that are made of it would have it alike. What has a rule of its own
/// (machine id, host keys, random seed, state of the agents) is not looked at here.
/// </summary>
internal sealed class NoSharedIdentities : ReadinessRule
{
    private static readonly string[] s_patterns =
    [
        // Source: systemd's "Building images safely".
        "/var/lib/systemd/credential.secret", "/etc/machine-info", "/var/lib/systemd/tpm2-srk-public-key.*",
        // Source: virt-sysprep(1), operations dhcp-client-state, kerberos-hostkeytab, sssd-db-log, rhn-systemid, puppet-data-log,
        // mail-spool, cron-spool, samba-db-log.
        "/var/lib/dhcpcd/duid", "/var/lib/dhcpcd/secret", "/var/lib/dhcpcd/*.lease*", "/etc/dhcpcd.duid", "/etc/dhcpcd.secret",
        "/var/lib/dhclient/*.leases", "/var/lib/dhcp/*.leases", "/var/lib/NetworkManager/*.lease", "/var/lib/NetworkManager/secret_key",
        "/etc/krb5.keytab", "/var/lib/sss/db/*.ldb", "/etc/sysconfig/rhn/systemid", "/etc/salt/pki/minion/*", "/var/lib/puppet/ssl/*",
        "/var/spool/mail/*", "/var/spool/cron/*", "/var/lib/samba/private/secrets.tdb",
        // Source: nvme-gen-hostnqn(1), iscsi-iname(8), zgenhostid(8).
        "/etc/nvme/hostnqn", "/etc/nvme/hostid", "/etc/iscsi/initiatorname.iscsi", "/etc/hostid",
    ];

    public override string Wanted => "no identity, secret or lease that all machines of the image would share";

    public override string Source => Sources.BuildingImages + "; virt-sysprep(1)";

    public override Finding Check(CheckedDisk disk) =>
        PassIfNone(
            [
                .. s_patterns.SelectMany(pattern => Glob.Expand(disk.Root, pattern))
                    .Where(path => disk.Root.GetStatus(path) is { Type: FileSystems.FileType.File, Size: > 0 }),
            ],
            "none",
            "Remove them; each machine makes its own.");
}
