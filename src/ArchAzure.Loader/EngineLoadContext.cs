using System.Management.Automation;
using System.Reflection;
using System.Runtime.Loader;

namespace ArchAzure.Loader;

/// <summary>
/// Keeps the engine and its dependencies (the Docker client, BouncyCastle, Polly) apart from those of other modules in the session,
/// such as Az: two versions of one assembly cannot live in one context.
/// </summary>
/// <remarks>https://learn.microsoft.com/powershell/scripting/dev-cross-plat/resolving-dependency-conflicts</remarks>
public sealed class EngineLoadContext : AssemblyLoadContext
{
    private readonly string _folder;

    private EngineLoadContext(string folder)
        : base("ArchAzure") => _folder = folder;

    /// <summary>The one context of this session.</summary>
    internal static EngineLoadContext Instance { get; } =
        new(Path.Combine(Path.GetDirectoryName(typeof(EngineLoadContext).Assembly.Location)!, "engine"));

    /// <inheritdoc/>
    protected override Assembly? Load(AssemblyName assemblyName)
    {
        var path = Path.Combine(_folder, assemblyName.Name + ".dll");
        if (!File.Exists(path))
        {
            return null;
        }

        if (assemblyName.Name!.StartsWith("System.", StringComparison.Ordinal))
        {
            // .NET's own, where it is new enough, is compiled for this machine already.
            try
            {
                return Default.LoadFromAssemblyName(assemblyName);
            }
            catch (IOException)
            {
                // Older, or none.
            }
        }

        return LoadFromAssemblyPath(path);
    }
}

/// <summary>
/// Runs when the module's manifest loads this assembly, before the cmdlets' own, which needs the engine as soon as it is looked at.
/// </summary>
public sealed class Initializer : IModuleAssemblyInitializer
{
    private static int s_registered;

    /// <inheritdoc/>
    public void OnImport()
    {
        if (Interlocked.Exchange(ref s_registered, 1) == 0)
        {
            // The cmdlets name these; what they in turn need is looked for in their own context.
            AssemblyLoadContext.Default.Resolving += (_, name) =>
                name.Name is "ArchAzure.Common" or "ArchAzure.Engine" or "ArchAzure.SimulatedAzure"
                    ? EngineLoadContext.Instance.LoadFromAssemblyName(name) : null;
        }
    }
}
