using System.Text.RegularExpressions;
using Mono.Cecil;
using Mono.Cecil.Cil;

namespace ArchAzure.UnitTests;

/// <summary>ARCHITECTURE.md's drawing is true: each project and folder is in it, and the code depends in its directions only.</summary>
public sealed partial class ArchitectureTests
{
    private static readonly string s_checkout = TestSetup.Checkout;
    private static readonly string s_drawing = Path.Combine(s_checkout, "ARCHITECTURE.md");

    /// <summary>The arrows of the drawing: who may use whom.</summary>
    private static readonly HashSet<(string From, string To)> s_drawn =
    [
        .. from line in File.ReadLines(s_drawing)
           let arrow = Arrow().Match(line)
           where arrow.Success
           from to in arrow.Groups["to"].Value.Split('&', StringSplitOptions.TrimEntries)
           select (arrow.Groups["from"].Value, to),
    ];

    [Fact]
    public void Each_project_and_folder_is_drawn()
    {
        string[] rooms =
        [
            .. Directory.GetDirectories(Path.Combine(s_checkout, "src"))
                .Select(project => Path.GetFileName(project)["ArchAzure.".Length..])
                .Where(project => project != "Engine"),
            .. Directory.GetDirectories(Path.Combine(s_checkout, "src/ArchAzure.Engine"))
                .Select(folder => Path.GetFileName(folder)!)
                .Where(folder => folder is not ("bin" or "obj")),
        ];
        var alone = File.ReadLines(s_drawing)
            .Select(line => Alone().Match(line))
            .Where(match => match.Success)
            .Select(match => match.Groups[1].Value);
        Assert.Equal(
            rooms.Order(StringComparer.Ordinal),
            s_drawn.SelectMany(arrow => new[] { arrow.From, arrow.To }).Concat(alone).Distinct().Order(StringComparer.Ordinal));
    }

    [Fact]
    public void The_drawing_has_no_circle() => Assert.All(s_drawn, arrow => Assert.DoesNotContain(arrow.From, Below(arrow.To)));

    [Fact]
    public void The_code_depends_along_the_arrows_only()
    {
        var real = Dependencies();
        Assert.All(
            real,
            dependency =>
                Assert.True(
                    Below(dependency.From).Contains(dependency.To),
                    $"{dependency.From} --> {dependency.To} is not drawn: {dependency.Example}"));

        // And an arrow that no code needs misleads.
        Assert.All(s_drawn, arrow => Assert.Contains(real, dependency => (dependency.From, dependency.To) == arrow));
    }

    [Fact]
    public void No_line_of_code_is_longer_than_140_columns()
    {
        var files = new[] { "src", "tests", "tools" }
            .SelectMany(folder => Directory.EnumerateFiles(Path.Combine(s_checkout, folder), "*.cs", SearchOption.AllDirectories))
            .Where(file => !file.Contains("/obj/", StringComparison.Ordinal));
        foreach (var file in files)
        {
            // A raw string is a file or a script of its own.
            var outside = string.Join("\n", File.ReadAllText(file).Split("\"\"\"").Where((_, index) => index % 2 == 0));
            Assert.All(outside.Split('\n'), line => Assert.True(line.Length <= 140, $"{file}: {line}"));
        }
    }

    /// <summary>All that a room may use, near and far.</summary>
    private static HashSet<string> Below(string room)
    {
        HashSet<string> found = [];
        Queue<string> next = new([room]);
        while (next.TryDequeue(out var from))
        {
            foreach (var (_, to) in s_drawn.Where(arrow => arrow.From == from && found.Add(arrow.To)))
            {
                next.Enqueue(to);
            }
        }

        return found;
    }

    private static List<(string From, string To, string Example)> Dependencies()
    {
        var folder = Path.Combine(s_checkout, "src/ArchAzure.PowerShell/bin/Release/net8.0");
        var found = new Dictionary<(string, string), string>();
        foreach (var path in Directory.GetFiles(folder, "ArchAzure.*.dll"))
        {
            using var assembly = AssemblyDefinition.ReadAssembly(path);
            foreach (var type in assembly.MainModule.GetTypes())
            {
                var from = Room(type);
                var useds = UsedBy(type)
                    .SelectMany(Parts)
                    .Where(used => used.FullName.StartsWith("ArchAzure.", StringComparison.Ordinal));
                foreach (var used in useds)
                {
                    var to = Room(used);
                    if (from is not null && to is not null && from != to)
                    {
                        found.TryAdd((from, to), $"{type.FullName} uses {used.FullName}");
                    }
                }
            }
        }

        return [.. found.Select(pair => (pair.Key.Item1, pair.Key.Item2, pair.Value))];
    }

    /// <summary>The project of a type; in the engine the folder, which is the namespace's second word.</summary>
    private static string? Room(TypeReference type)
    {
        while (type.DeclaringType is { } outer)
        {
            type = outer;
        }

        var assembly = (
            type.Scope is AssemblyNameReference reference ? reference.Name : type.Module.Assembly.Name.Name)["ArchAzure.".Length..];
        var words = type.Namespace.Split('.');
        return assembly != "Engine" ? assembly : words.Length > 1 && words[0] == "ArchAzure" ? words[1] : null;
    }

    private static IEnumerable<TypeReference> UsedBy(TypeDefinition type)
    {
        IEnumerable<TypeReference?> used =
        [
            type.BaseType, .. type.Interfaces.Select(i => i.InterfaceType), .. type.Fields.Select(field => field.FieldType),
            .. type.CustomAttributes.Select(a => a.AttributeType),
            .. type.Methods.SelectMany(method => method.Parameters.Select(parameter => parameter.ParameterType).Append(method.ReturnType)),
            .. type.Methods.Where(method => method.HasBody)
                .SelectMany(
                    method =>
                        method.Body.Variables.Select(variable => variable.VariableType)
                            .Concat(method.Body.Instructions.SelectMany(UsedBy))),
        ];
        return used.OfType<TypeReference>();
    }

    private static IEnumerable<TypeReference?> UsedBy(Instruction instruction) => instruction.Operand switch
    {
        TypeReference type => [type],
        GenericInstanceMethod method => [method.DeclaringType, .. method.GenericArguments],
        MemberReference member => [member.DeclaringType],
        _ => [],
    };

    private static IEnumerable<TypeReference> Parts(TypeReference type) => type switch
    {
        GenericInstanceType generic => generic.GenericArguments.SelectMany(Parts).Append(generic.ElementType),
        TypeSpecification specification => Parts(specification.ElementType),
        _ => [type],
    };

    [GeneratedRegex(@"^\s+(?<from>\w+) --> (?<to>\w+(?: & \w+)*)$", RegexOptions.ExplicitCapture)]
    private static partial Regex Arrow();

    [GeneratedRegex(@"^    ([A-Z]\w+)$")]
    private static partial Regex Alone();
}
