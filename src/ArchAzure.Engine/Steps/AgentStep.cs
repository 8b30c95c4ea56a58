using System.Text.RegularExpressions;
using ArchAzure.Builds;
using ArchAzure.Containers;
using ArchAzure.Target;

namespace ArchAzure.Steps;

/// <summary>Step 4, Install-WaAgent: the Azure Linux agent from its source, and the layer that makes it fit.</summary>
internal sealed partial class AgentStep : TargetStep
{
    /// <summary>On the disk: /tmp and /run are in memory, and /root is the user's.</summary>
    private const string BuildFolder = "/var/lib/archazure-agent";

    public override string Name => StepName.Agent;

    public override IEnumerable<string> OtherInputs(StepContext context) =>
        [
            .. Layers(context).Select(layer => layer.Fingerprint()),
            .. Source(context) is { } source ? [source.Fingerprint(), File.ReadAllText(Script(context))] : Array.Empty<string>(),
        ];

    public override Task<ArchBuild> RunAsync(StepContext context, CancellationToken cancellationToken)
    {
        var layers = Layers(context);
        var source = Source(context);
        var network = context.MirrorNetwork == "host" || source is null ? context.MirrorNetwork : BuilderSpec.NetworkFor(source.Location);
        return RunInTargetAsync(
            context,
            network,
            async (builder, target) =>
            {
                context.Say("installing packages", 0);
                await new Pacman(builder, context.Reporter, Name)
                    .InstallAsync([.. layers.SelectMany(layer => layer.Packages).Distinct(StringComparer.Ordinal)], cancellationToken);

                if (source is not null)
                {
                    await InstallWaAgentAsync(context, builder, target, source, cancellationToken);
                }

                await LayAsync(context, target, layers, cancellationToken);
                var version = source is null ? "" : (await target.ChrootAsync(["waagent", "--version"], null, cancellationToken)).Output;
                return context.Build with
                {
                    Agent = new AgentProduct(
                        context.Settings.Agent,
                        source?.Location ?? "",
                        source?.Commit,
                        AgentVersion().Match(version) is { Success: true } match ? match.Groups[1].Value : version.Split('\n')[0].Trim()),
                };
            },
            cancellationToken);
    }

    private static async Task InstallWaAgentAsync(
        StepContext context, Builder builder, TargetTree target, AgentSource source, CancellationToken cancellationToken)
    {
        context.Say($"fetching the agent from {source.Location}");
        var folder = await source.FetchAsync(builder, TargetTree.Root + BuildFolder, cancellationToken);

        context.Say("installing the agent");
        var environment = new Dictionary<string, string>(context.ScriptEnvironment, StringComparer.Ordinal)
        {
            ["ARCHAZURE_AGENT_SOURCE"] = folder[TargetTree.Root.Length..],
        };
        await target.RunScriptAsync(Script(context), environment, null, cancellationToken);
        await builder.RunAsync(["rm", "-rf", TargetTree.Root + BuildFolder], null, cancellationToken);
    }

    private static List<Layer> Layers(StepContext context) => [.. Agent(context).Layers.Select(context.Layer)];

    private static string Script(StepContext context) => Path.Combine(context.LayerFolder, "install-waagent");

    private static AgentSource? Source(StepContext context) =>
        Agent(context).WithWaAgent ? AgentSource.Parse(context.Settings.WaAgentSource, context.Settings.WaAgentCommit) : null;

    private static ProvisioningAgent Agent(StepContext context) => ProvisioningAgent.Find(context.Settings.Agent);

    [GeneratedRegex(@"WALinuxAgent-(\d+(\.\d+)+)", RegexOptions.None, 1000)]
    private static partial Regex AgentVersion();
}
