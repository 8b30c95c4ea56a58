using System.Collections;
using System.Management.Automation;
using System.Management.Automation.Language;
using ArchAzure.Builds;

namespace ArchAzure.PowerShell;

/// <summary>Completes the names of the steps.</summary>
public sealed class StepCompleter : IArgumentCompleter
{
    /// <inheritdoc/>
    public IEnumerable<CompletionResult> CompleteArgument(
        string commandName, string parameterName, string wordToComplete, CommandAst commandAst, IDictionary fakeBoundParameters) =>
        StepName.All
            .Where(name => name.StartsWith(wordToComplete ?? "", StringComparison.OrdinalIgnoreCase))
            .Select(name => new CompletionResult(name, name, CompletionResultType.ParameterValue, $"step {StepName.Number(name)}"));
}
