using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Org.BouncyCastle.Asn1;
using Org.BouncyCastle.Asn1.Nist;
using Org.BouncyCastle.Asn1.Pkcs;
using Org.BouncyCastle.Cms;
using Org.BouncyCastle.X509;

namespace ArchAzure.SimulatedAzure;

/// <summary>
/// The key pair that Azure gives a machine through the wire server, with which it encrypts protected settings of extensions. New for
/// each run.
/// </summary>
internal sealed class TenantCertificate : IDisposable
{
    private readonly RSA _key;
    private readonly X509Certificate2 _certificate;

    /// <summary>Makes a fresh pair, RSA with 2048 bits, valid for a year.</summary>
    public TenantCertificate()
    {
        _key = RSA.Create(2048);
        var request = new CertificateRequest(
            "CN=Windows Azure CRP Certificate Generator", _key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        _certificate = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddYears(1));
    }

    /// <summary>SHA-1 of the certificate in capitals: the name by which settings refer to it.</summary>
    public string Thumbprint => _certificate.Thumbprint;

    /// <summary>
    /// The body of the wire server's certificates document: a PKCS #12 file without a password that holds the pair, in
    /// a CMS envelope for the agent's transport certificate (format <c>Pkcs7BlobWithPfxContents</c>).
    /// </summary>
    /// <param name="transportCertificate">The agent's certificate, DER.</param>
    /// <param name="cipher">As in the header x-ms-cipher-name: <c>DES_EDE3_CBC</c> or <c>AES128_CBC</c>; null is the latter.</param>
    /// <returns>The envelope, DER.</returns>
    /// <exception cref="ArchAzureException">The certificate or the cipher is not usable.</exception>
    public byte[] EncryptFor(ReadOnlyMemory<byte> transportCertificate, string? cipher)
    {
        var algorithm = cipher switch
        {
            "DES_EDE3_CBC" => PkcsObjectIdentifiers.DesEde3Cbc,
            "AES128_CBC" or null => NistObjectIdentifiers.IdAes128Cbc,
            _ => throw new ArchAzureException("UnknownCipher", ErrorKind.InvalidInput,
                $"The wire server knows no cipher '{cipher}': DES_EDE3_CBC and AES128_CBC are what agents ask for.", cipher),
        };
        return Envelope(transportCertificate.ToArray(), _certificate.Export(X509ContentType.Pkcs12, ""), algorithm);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _certificate.Dispose();
        _key.Dispose();
    }

    private static byte[] Envelope(byte[] recipient, byte[] content, DerObjectIdentifier algorithm)
    {
        try
        {
            var certificate = new X509CertificateParser().ReadCertificate(recipient)
                ?? throw new ArgumentException("there is no certificate in it", nameof(recipient));
            var generator = new CmsEnvelopedDataGenerator();
            generator.AddKeyTransRecipient(certificate);
            return generator.Generate(new CmsProcessableByteArray(content), algorithm).GetEncoded();
        }
        catch (Exception e) when (e is not ArchAzureException)
        {
            throw new ArchAzureException("InvalidTransportCertificate", ErrorKind.InvalidData,
                $"The agent's transport certificate cannot be used: {e.Message}. It must be an X.509 certificate with an RSA key, DER in "
                + $"base64.",
                inner: e);
        }
    }
}
