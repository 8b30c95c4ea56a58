namespace ArchAzure.Readiness;

/// <summary>What Azure asks of the kernel command line, wherever it is written.</summary>
internal static class KernelArguments
{
    public const string Wanted =
        "console=ttyS0 earlyprintk=ttyS0 rootdelay=300 net.ifnames=0; not quiet, rhgb, crashkernel=auto, nor what hides the DVD drive";

    private static readonly (string Argument, Predicate<string> Matches)[] s_needed =
    [
        (
            "console=ttyS0,115200n8",
            argument => argument == "console=ttyS0" || argument.StartsWith("console=ttyS0,", StringComparison.Ordinal)),
        (
            "earlyprintk=ttyS0,115200",
            argument => argument == "earlyprintk=ttyS0" || argument.StartsWith("earlyprintk=ttyS0,", StringComparison.Ordinal)),
        ("rootdelay=300", argument => argument == "rootdelay=300"),
        ("net.ifnames=0", argument => argument == "net.ifnames=0"),
    ];

    // The last two hide the emulated IDE controller, and generation 1's DVD on it: verify_grub in Microsoft's test suite,
    // https://github.com/microsoft/lisa (azure_image_standard.py).
    private static readonly string[] s_unwanted = ["quiet", "rhgb", "crashkernel=auto", "libata.atapi_enabled=0", "reserve=0x1f0,0x8"];

    /// <summary>What is missing and what is too much, in a few words; empty if all is well.</summary>
    public static IReadOnlyList<string> Problems(IReadOnlyCollection<string> arguments) =>
    [
        .. s_needed.Where(needed => !arguments.Any(argument => needed.Matches(argument))).Select(needed => $"{needed.Argument} is missing"),
        .. s_unwanted.Where(arguments.Contains).Select(argument => $"{argument} is there"),
    ];
}
