using ArchAzure.FileSystems;

namespace ArchAzure.Readiness.Rules;

/// <summary>Something in the machine can report Ready to the platform; without that Azure restarts the machine and gives up.</summary>
internal sealed class AgentInstalled : ReadinessRule
{
    private const string Remedy = "Install WALinuxAgent (Install-WaAgent) or cloud-init.";

    public override string Wanted => "waagent or cloud-init, executable, with its interpreter";

    public override string Source => Sources.AzureProvisioning;

    public override Finding Check(ReadinessImage image)
    {
        var root = image.Root;
        string[] programs = [.. new[] { Agents.WaAgent(root), Agents.CloudInit(root) }.OfType<string>()];
        if (programs.Length == 0)
        {
            return Fail("neither waagent nor cloud-init", Remedy);
        }

        foreach (var program in programs)
        {
            if (root.GetStatus(program) is not { IsExecutable: true })
            {
                return Fail($"{program} is not executable", Remedy);
            }

            // A script by a Python that has since been replaced is the way in which an agent gets lost.
            if (Interpreter(root, program) is { } interpreter && root.GetStatus(interpreter) is not { IsExecutable: true })
            {
                return Fail($"{program} needs {interpreter}, which is not there", Remedy);
            }
        }

        return Pass(string.Join(", ", programs));
    }

    private static string? Interpreter(IImageFileSystem root, string program)
    {
        using var stream = root.OpenRead(program);
        var head = new byte[256];
        var length = stream.ReadAtLeast(head, head.Length, throwOnEndOfStream: false);
        if (length < 3 || !head.AsSpan().StartsWith("#!"u8))
        {
            return null;
        }

        var words = System.Text.Encoding.UTF8.GetString(head, 2, length - 2).Split('\n')[0].Split([' ', '\t', '\r'], StringSplitOptions.RemoveEmptyEntries);
        return words switch
        {
            [] => null,
            ["/usr/bin/env", "-S", var name, ..] => $"/usr/bin/{name}",
            ["/usr/bin/env", var name, ..] => $"/usr/bin/{name}",
            _ => words[0],
        };
    }
}
