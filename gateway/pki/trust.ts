import { createHash, X509Certificate } from 'node:crypto';
import { deviceId } from '../../firstboot/device-id.ts';
import type { System } from '../../firstboot/system.ts';
import { readRoot } from './authority.ts';
import { derOf } from './openssl.ts';
import { ownName, publicPaths } from './urls.ts';

/** What a device must trust to take the gateway's certificates, in the forms that systems ask for. */
export type Trust = {
  pem: string;
  /** SHA-256 of the certificate, as browsers show it: AB:CD:… */
  fingerprint: string;
  name: string;
  notAfter: string;
  /** A profile for iOS and macOS. */
  mobileconfig: string;
};

/** @throws GatewayError before first boot. */
export async function readTrust(system: System): Promise<Trust> {
  const pem = await readRoot(system);
  const certificate = new X509Certificate(pem);
  const id = await deviceId(system);
  return {
    pem,
    fingerprint: certificate.fingerprint256,
    name: `Pi Gateway CA ${id}`,
    notAfter: new Date(certificate.validTo).toISOString(),
    mobileconfig: mobileconfig(pem, id),
  };
}

/** Apple's Configuration Profile Reference, payload com.apple.security.root. */
function mobileconfig(pem: string, id: string): string {
  const der = derOf(pem);
  const uuid = (use: string) => {
    const hex = createHash('sha256').update(use).update(der).digest('hex');
    // RFC 9562 §5.8: version 8, made in a way of one's own; the same for the same root.
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`.toUpperCase();
  };
  const base64 = der.toString('base64').replace(/(.{64})(?=.)/g, '$1\n');
  return `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>PayloadType</key><string>Configuration</string>
  <key>PayloadVersion</key><integer>1</integer>
  <key>PayloadIdentifier</key><string>pi-gateway.${id}</string>
  <key>PayloadUUID</key><string>${uuid('profile')}</string>
  <key>PayloadDisplayName</key><string>Pi Gateway ${id}</string>
  <key>PayloadDescription</key><string>Trusts the certificates of this Pi Gateway for names of its own networks.</string>
  <key>PayloadContent</key>
  <array>
    <dict>
      <key>PayloadType</key><string>com.apple.security.root</string>
      <key>PayloadVersion</key><integer>1</integer>
      <key>PayloadIdentifier</key><string>pi-gateway.${id}.root</string>
      <key>PayloadUUID</key><string>${uuid('root')}</string>
      <key>PayloadDisplayName</key><string>Pi Gateway CA ${id}</string>
      <key>PayloadCertificateFileName</key><string>pi-gateway-${id}.crt</string>
      <key>PayloadContent</key>
      <data>
${base64}
      </data>
    </dict>
  </array>
</dict>
</plist>
`;
}

/** How each system comes to trust it, for the page and for the command. */
export const trustSteps: readonly { system: string; file: keyof typeof files; steps: string }[] = [
  {
    system: 'Android',
    file: 'certificate',
    steps:
      'Settings → Security → More → Encryption & credentials → Install a certificate → CA certificate. Chrome then trusts it; some apps look at no CA of their user.',
  },
  {
    system: 'iPhone, iPad',
    file: 'profile',
    steps:
      'Open it in Safari and allow the download; Settings → General → VPN & Device Management → install the profile; then Settings → General → About → Certificate Trust Settings → turn it on.',
  },
  {
    system: 'Windows',
    file: 'certificate',
    steps:
      'Open the file → Install Certificate → Local Machine → Place all certificates in: Trusted Root Certification Authorities.',
  },
  {
    system: 'macOS',
    file: 'profile',
    steps:
      'Open the file, then System Settings → General → Device Management → install. Or as administrator: sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain root.crt',
  },
  {
    system: 'Firefox, on any system',
    file: 'certificate',
    steps:
      'Settings → Privacy & Security → Certificates → View Certificates → Authorities → Import → Trust this CA to identify websites.',
  },
  {
    system: 'Linux (Debian, Ubuntu)',
    file: 'certificate',
    steps:
      'sudo cp root.crt /usr/local/share/ca-certificates/pi-gateway.crt && sudo update-ca-certificates. Chrome and Chromium: Settings → Privacy and security → Security → Manage certificates → Authorities → Import.',
  },
];

const files = {
  certificate: { path: publicPaths.certificate, label: 'root.crt' },
  profile: { path: publicPaths.profile, label: 'root.mobileconfig' },
} as const;

/** The page that the proxy hands out without TLS. One file: it is answered by the proxy itself. */
export async function trustPage(system: System): Promise<string> {
  const trust = await readTrust(system);
  const name = await ownName(system);
  const rows = trustSteps
    .map(
      ({ system: which, file, steps }) =>
        `<h2>${html(which)}</h2><p><a href="${files[file].path}" download>${files[file].label}</a></p><p>${html(steps)}</p>`,
    )
    .join('\n');
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Trust this gateway</title>
<style>body{font:1rem/1.5 system-ui,sans-serif;max-width:42rem;margin:2rem auto;padding:0 1rem;color:#1b1f24;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.1rem;margin-bottom:.2rem}p{margin:.2rem 0 .6rem}code{overflow-wrap:anywhere;background:#f0f2f5;padding:.1rem .3rem}
@media(prefers-color-scheme:dark){body{color:#e6e8eb;background:#15181c}code{background:#262b31}a{color:#8ab4ff}}</style></head>
<body><h1>Trust this gateway</h1>
<p>With its certificate on your device, ${html(name)} and its services open without a warning. It can vouch for
names that end in .home.arpa, .internal and .local and for private addresses alone, never for a bank.</p>
<p>This page came without encryption. Compare the fingerprint (SHA-256) that your device shows with the one that
<code>sudo pi-gateway certificate trust</code> prints on the gateway, and with this:</p>
<p><code>${trust.fingerprint}</code></p>
${rows}
</body></html>
`;
}

function html(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
