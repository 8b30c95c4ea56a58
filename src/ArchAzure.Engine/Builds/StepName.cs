using System.Globalization;

namespace ArchAzure.Builds;

/// <summary>The five steps and their order.</summary>
internal static class StepName
{
    /// <summary>Step 1.</summary>
    public const string Bootstrap = "New-ArchBootstrap";

    /// <summary>Step 2.</summary>
    public const string Disk = "New-ArchDisk";

    /// <summary>Step 3.</summary>
    public const string Base = "Install-ArchBase";

    /// <summary>Step 4.</summary>
    public const string Agent = "Install-WaAgent";

    /// <summary>Step 5.</summary>
    public const string Vhd = "ConvertTo-AzureVhd";

    /// <summary>All steps; step n is at index n - 1.</summary>
    public static IReadOnlyList<string> All { get; } = [Bootstrap, Disk, Base, Agent, Vhd];

    /// <summary>A step's number.</summary>
    public static int Number(string name) => All.ToList().IndexOf(name) + 1;

    /// <summary>Reads a step's number or name as a user gives it.</summary>
    /// <exception cref="ArchAzureException"><c>UnknownStep</c>.</exception>
    public static int Parse(string step)
    {
        if (int.TryParse(step, NumberStyles.None, CultureInfo.InvariantCulture, out var number) && number >= 1 && number <= All.Count)
        {
            return number;
        }

        var index = All.ToList().FindIndex(name => name.Equals(step, StringComparison.OrdinalIgnoreCase));
        return index >= 0
            ? index + 1
            : throw new ArchAzureException(
                "UnknownStep", ErrorKind.InvalidInput, $"There is no step '{step}'. Give a number from 1 to {All.Count} or one of "
                + $"{string.Join(", ", All)}.", step);
    }
}
