using System.Management.Automation;
using ArchAzure.Builds;
using ArchAzure.Settings;
using ArchAzure.Steps;

namespace ArchAzure.PowerShell;

/// <summary>A cmdlet that is one of the five steps: parameters become settings, the runner does the rest.</summary>
public abstract class StepCmdlet : BuildCmdlet
{
    /// <summary>Run although nothing has changed since the last good run, and replace what is there.</summary>
    [Parameter]
    public SwitchParameter Force { get; set; }

    /// <summary>Runs a step after confirmation and writes the build.</summary>
    private protected void RunStep(string name, string action, StepRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        var directory = Directory;
        if (!ShouldProcess(directory.Path, action))
        {
            return;
        }

        var step = StepName.Number(name);
        WriteObject(Run((reporter, token) => new BuildRunner(LayerFolder, reporter).RunAsync(directory, step, step, request, token)));
    }

    /// <summary>
    /// The settings of all parameters given whose name the settings know; one with an empty value takes back what was given earlier.
    /// </summary>
    protected Dictionary<string, string> GivenSettings()
    {
        var given = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var definition in SettingDefinition.All)
        {
            if (definition.Parameter is not { } parameter || !MyInvocation.BoundParameters.TryGetValue(parameter, out var value))
            {
                continue;
            }

            given[definition.Key] = value switch
            {
                "" or null or string[] { Length: 0 } => "",
                // Relative paths count from the current location, not from where the process was started.
                string[] list =>
                    Run(
                        () =>
                            BuildSettings.Default.With(
                                definition.Key, [.. list.Select(item => definition.WithPaths(item, FilePath))], parameter))[definition.Key],
                _ =>
                    Run(
                        () =>
                            BuildSettings.Default.With(
                                definition.Key, definition.WithPaths(value.ToString() ?? "", FilePath), parameter))[definition.Key],
            };
        }

        return given;
    }
}
