using ArchAzure.Target;

namespace ArchAzure.UnitTests.Target;

public sealed class InstalledPackageTests
{
    // /var/lib/pacman/local/*/desc as pacman 7 writes it.
    private const string Zlib = "%NAME%\nzlib\n\n%VERSION%\n1:1.3.1-2\n\n%BASE%\nzlib\n\n%DESC%\nCompression "
        + "library\n\n%URL%\nhttps://www.zlib.net/\n\n%ARCH%\nx86_64\n\n"
        + "%PACKAGER%\nLevente Polyak "
        + "<anthraxx[at]archlinux[dot]org>\n\n%LICENSE%\nZlib\nBSD-3-Clause\n\n"
        + "%VALIDATION%\npgp\n\n%DEPENDS%\nglibc\n\n%XDATA%\npkgtype=pkg\n\n";

    private const string Acl = "%NAME%\nacl\n\n%VERSION%\n2.3.2-1\n\n%ARCH%\nany\n\n%INSTALLED_DB%\ncore\n\n";

    [Fact]
    public void Packages_come_by_name_with_all_that_is_said_of_them()
    {
        var packages = InstalledPackage.Parse(Zlib + Acl);

        Assert.Equal(["acl", "zlib"], packages.Select(package => package.Name));
        var (acl, zlib) = (packages[0], packages[1]);
        Assert.Equal("2.3.2-1", acl.Version);
        Assert.Equal("any", acl.Architecture);
        Assert.Null(acl.Description);
        Assert.Empty(acl.Licenses);
        Assert.Equal("1:1.3.1-2", zlib.Version);
        Assert.Equal("Compression library", zlib.Description);
        Assert.Equal("https://www.zlib.net/", zlib.Url);
        Assert.Equal("Levente Polyak <anthraxx[at]archlinux[dot]org>", zlib.Packager);
        Assert.Equal(["Zlib", "BSD-3-Clause"], zlib.Licenses);
    }

    [Theory]
    [InlineData("", "no package")]
    [InlineData("%VERSION%\n1-1\n\n", "%VERSION% is not where it should be")]
    [InlineData("%NAME%\nacl\n\n", "acl has no version")]
    [InlineData("%NAME%\n\n%VERSION%\n1-1\n\n", "no name")]
    [InlineData("%NAME%\nacl\n\n%VERSION%\n1-1\n\n%VERSION%\n2-1\n\n", "%VERSION% is not where it should be")]
    [InlineData("acl 1-1\n", "'acl 1-1'")]
    public void A_damaged_database_is_named(string text, string reason)
    {
        var error = Assert.Throws<ArchAzureException>(() => InstalledPackage.Parse(text));

        Assert.Equal("PackageDatabaseDamaged", error.ErrorId);
        Assert.Contains(reason, error.Message, StringComparison.Ordinal);
        Assert.Contains("Install-ArchBase -Force", error.Message, StringComparison.Ordinal);
    }
}
