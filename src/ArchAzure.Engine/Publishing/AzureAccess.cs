using Azure.Core;
using Azure.Core.Pipeline;
using Azure.Identity;
using Azure.ResourceManager;

namespace ArchAzure.Publishing;

/// <summary>Which Azure, as whom, and in which subscription.</summary>
internal sealed record AzureAccess
{
    /// <summary>The cloud.</summary>
    public ArmEnvironment Environment { get; init; } = ArmEnvironment.AzurePublicCloud;

    /// <summary>Who asks.</summary>
    public required TokenCredential Credential { get; init; }

    /// <summary>The id or the name of the subscription; null for the only one that the credential has.</summary>
    public string? Subscription { get; init; }

    /// <summary>How often the state of a replication is asked for.</summary>
    public TimeSpan PollInterval { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>How requests are sent, where it is not the SDK's own way: tests trust their server's certificate.</summary>
    internal HttpPipelineTransport? Transport { get; init; }

    /// <summary>As whoever is signed in: environment, workload or managed identity, Azure CLI, Az PowerShell, ...</summary>
    /// <param name="cloud">A cloud by its name in the Azure CLI: AzureCloud, AzureChinaCloud or AzureUSGovernment.</param>
    /// <param name="subscription">The id or the name of the subscription, or null.</param>
    /// <remarks>https://learn.microsoft.com/dotnet/azure/sdk/authentication/credential-chains</remarks>
    public static AzureAccess SignedIn(string cloud, string? subscription)
    {
        var (environment, authority) = cloud switch
        {
            "AzureChinaCloud" => (ArmEnvironment.AzureChina, AzureAuthorityHosts.AzureChina),
            "AzureUSGovernment" => (ArmEnvironment.AzureGovernment, AzureAuthorityHosts.AzureGovernment),
            _ => (ArmEnvironment.AzurePublicCloud, AzureAuthorityHosts.AzurePublicCloud),
        };
        return new AzureAccess
        {
            Environment = environment,
            Credential = new DefaultAzureCredential(new DefaultAzureCredentialOptions { AuthorityHost = authority }),
            Subscription = subscription,
        };
    }

    /// <summary>Makes the client; nothing is asked yet.</summary>
    /// <param name="options">How requests are repeated.</param>
    /// <param name="note">Gets each attempt that failed.</param>
    public ArmClient Open(UploadOptions options, Action<string> note)
    {
        var client = options.Apply(new ArmClientOptions { Environment = Environment }, note);
        client.Transport = Transport ?? client.Transport;
        return new ArmClient(Credential, default, client);
    }

    /// <summary>The id of the subscription.</summary>
    /// <exception cref="ArchAzureException"><c>SubscriptionNotFound</c>, <c>SubscriptionAmbiguous</c>, and those of
    /// <see cref="AzureErrors"/>.</exception>
    public async Task<string> SubscriptionIdAsync(ArmClient client, CancellationToken cancellationToken)
    {
        if (Guid.TryParse(Subscription, out var id))
        {
            return id.ToString();
        }

        return await AzureErrors.ExplainAsync("The list of subscriptions", async () =>
        {
            List<(string Id, string Name)> found = [];
            await foreach (var item in client.GetSubscriptions().GetAllAsync(cancellationToken))
            {
                if (Subscription is null || string.Equals(Subscription, item.Data.DisplayName, StringComparison.OrdinalIgnoreCase))
                {
                    found.Add((item.Data.SubscriptionId, item.Data.DisplayName));
                }
            }

            // The SDK would take the first of them: what is published must not end up in a subscription that nobody has named.
            return found switch
            {
                [var (only, _)] => only,
                [] => throw new ArchAzureException(
                    "SubscriptionNotFound",
                    ErrorKind.NotFound,
                    (Subscription is null ? "The signed-in identity has no subscription."
                        : $"There is no subscription '{Subscription}' here.")
                    + " Is it the right identity and tenant? List yours: az account list --output table.",
                    Subscription),
                _ => throw new ArchAzureException(
                    "SubscriptionAmbiguous",
                    ErrorKind.InvalidInput,
                    $"There are {found.Count} subscriptions: {string.Join(", ", found.Select(item => $"'{item.Name}' ({item.Id})"))}. "
                    + "Name one by its id: -Subscription.",
                    Subscription),
            };
        });
    }
}
