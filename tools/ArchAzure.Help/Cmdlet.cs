using System.Collections;
using System.Management.Automation;
using System.Reflection;

namespace ArchAzure.Help;

/// <summary>A parameter in one parameter set, or in all of them (Set is null).</summary>
internal sealed record ParameterUse(string? Set, bool Required, int? Position, bool ByValue, bool ByPropertyName);

/// <summary>A parameter as the cmdlet's class declares it.</summary>
internal sealed record CmdletParameter(string Name, Type Type, IReadOnlyList<ParameterUse> Uses)
{
    public IReadOnlyList<string> Aliases { get; init; } = [];

    /// <summary>The values it takes, of ValidateSet or an enum; none where it takes any.</summary>
    public IReadOnlyList<string> Values { get; init; } = [];

    public bool Wildcards { get; init; }

    /// <summary>What holds where it is not given; null for nothing.</summary>
    public string? Default { get; init; }

    public bool IsSwitch => Type == typeof(SwitchParameter);

    public ParameterUse? In(string? set) => Uses.FirstOrDefault(use => use.Set is null || use.Set == set);
}

/// <summary>A cmdlet as its class declares it.</summary>
/// <remarks>
/// PowerShell's assembly is here the standard library's, which has all types and does nothing: attributes are read as they stand in the
/// metadata, since their own properties would all be empty.
/// </remarks>
internal sealed record Cmdlet(string Verb, string Noun, IReadOnlyList<CmdletParameter> Parameters, IReadOnlyList<string?> Sets)
{
    public string Name => $"{Verb}-{Noun}";

    /// <summary>Reads the cmdlets of an assembly, whose other assemblies lie in the same folder.</summary>
    public static IReadOnlyList<Cmdlet> Load(string path) =>
        [.. from type in Assembly.LoadFrom(Path.GetFullPath(path)).GetExportedTypes()
            let attribute = Attributes<CmdletAttribute>(type).FirstOrDefault()
            where attribute is not null
            select FromType(type, attribute) into cmdlet
            orderby cmdlet.Name
            select cmdlet];

    /// <summary>The parameters of a set in the order in which PowerShell shows them.</summary>
    public IReadOnlyList<(CmdletParameter Parameter, ParameterUse Use)> InOrder(string? set) =>
        [.. from parameter in Parameters
            let use = parameter.In(set)
            where use is not null
            orderby use.Position ?? int.MaxValue, use.Required descending
            select (parameter, use)];

    private static Cmdlet FromType(Type type, CustomAttributeData attribute)
    {
        // Reflection gives a class's own properties before those of its base classes, and that is PowerShell's order too.
        var instance = Activator.CreateInstance(type)!;
        var parameters = type.GetProperties().Where(property => Attributes<ParameterAttribute>(property).Any())
            .Select(property => FromProperty(property, property.GetValue(instance))).ToList();
        if (Named(attribute, nameof(CmdletAttribute.SupportsShouldProcess), false))
        {
            parameters.Add(Common("WhatIf", "wi"));
            parameters.Add(Common("Confirm", "cf"));
        }

        var first = Named<string?>(attribute, nameof(CmdletAttribute.DefaultParameterSetName), null);
        var sets = parameters.SelectMany(parameter => parameter.Uses)
            .Select(use => use.Set)
            .Prepend(first)
            .OfType<string>()
            .Distinct()
            .ToList<string?>();
        return new(
            (string)attribute.ConstructorArguments[0].Value!,
            (string)attribute.ConstructorArguments[1].Value!,
            parameters,
            sets.Count == 0 ? [null] : sets);
    }

    private static CmdletParameter FromProperty(PropertyInfo property, object? value)
    {
        var element = property.PropertyType.GetElementType() ?? property.PropertyType;
        return new(property.Name, property.PropertyType, [.. Attributes<ParameterAttribute>(property).Select(Use)])
        {
            Aliases = Listed<AliasAttribute>(property),
            Values = element.IsEnum
                ? Enum.GetNames(element)
                : [.. Listed<ValidateSetAttribute>(property).Where(allowed => allowed.Length > 0)],
            Wildcards = Attributes<SupportsWildcardsAttribute>(property).Any(),
            Default = value switch
            {
                null or "" or 0 => null,
                SwitchParameter or bool => "False",
                string text => text,
                IEnumerable list => string.Join(", ", list.Cast<object>()) is { Length: > 0 } all ? all : null,
                _ => value.ToString(),
            },
        };
    }

    private static ParameterUse Use(CustomAttributeData attribute)
    {
        var position = Named(attribute, nameof(ParameterAttribute.Position), int.MinValue);
        return new(
            Named<string?>(attribute, nameof(ParameterAttribute.ParameterSetName), null),
            Named(attribute, nameof(ParameterAttribute.Mandatory), false),
            position == int.MinValue ? null : position,
            Named(attribute, nameof(ParameterAttribute.ValueFromPipeline), false),
            Named(attribute, nameof(ParameterAttribute.ValueFromPipelineByPropertyName), false));
    }

    private static CmdletParameter Common(string name, string alias) =>
        new(name, typeof(SwitchParameter), [new(null, false, null, false, false)]) { Aliases = [alias], Default = "False" };

    private static IEnumerable<CustomAttributeData> Attributes<T>(MemberInfo member) =>
        member.GetCustomAttributesData().Where(data => data.AttributeType == typeof(T));

    private static T Named<T>(CustomAttributeData attribute, string name, T otherwise) =>
        attribute.NamedArguments.Where(argument => argument.MemberName == name)
            .Select(argument => (T)argument.TypedValue.Value!)
            .DefaultIfEmpty(otherwise)
            .First();

    /// <summary>The texts of an attribute with a list of them.</summary>
    private static IReadOnlyList<string> Listed<T>(MemberInfo member) =>
        [.. Attributes<T>(member)
            .SelectMany(data => (IEnumerable<CustomAttributeTypedArgument>)data.ConstructorArguments[0].Value!)
            .Select(argument => (string)argument.Value!)];
}
