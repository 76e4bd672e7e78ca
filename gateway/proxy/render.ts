import { publicPaths } from '../pki/urls.ts';
import type { ProxyFacts } from './facts.ts';
import { certificateOf, type Site } from './sites.ts';

/** Files of the proxy: 0750 root:pi-gateway-proxy, so that its process reads keys of its own sites alone. */
export const proxyFolder = '/etc/pi-gateway/proxy';
export const configFile = `${proxyFolder}/haproxy.cfg`;
export const listFile = `${proxyFolder}/certificates.list`;
export const siteFolder = `${proxyFolder}/certificates`;
/** What clients with certificates are proven by: root and intermediate, and what those have revoked. */
export const clientCaFile = `${proxyFolder}/ca.pem`;
export const clientCrlFile = `${proxyFolder}/crl.pem`;
/** What anybody may have. */
export const publicFolder = `${proxyFolder}/public`;
export const upstreamFolder = `${proxyFolder}/upstream`;
export const upstreamCaFile = (name: string): string => `${upstreamFolder}/${name}.pem`;
export const siteFile = (name: string): string => `${siteFolder}/${name}.pem`;

/** Seconds: half a year; the owner may want to leave a service without TLS one day. */
const hstsSeconds = 15_552_000;

/** Of one source: connections at a time, and requests in ten seconds. A page of Nextcloud asks for some hundreds. */
const mostConnections = 250;
const mostRequests = 2000;

/**
 * Mozilla's intermediate configuration (wiki.mozilla.org/Security/Server_Side_TLS 5.7), as the API has it.
 */
const tls = `  ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
  ssl-default-bind-curves X25519:prime256v1:secp384r1
  ssl-default-bind-ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305
  ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256
  ssl-default-server-options ssl-min-ver TLSv1.2`;

/** First of the sockets that systemd hands over: sd_listen_fds(3). */
const firstSocket = 3;

/**
 * haproxy.cfg(5) of all sites. Its sockets are systemd's, first those with TLS, then those without, in the order
 * of the addresses (overlays/proxy). Every value comes from a schema that knows no blank and no quote.
 * Pure.
 */
export function renderProxy(sites: readonly Site[], { zones }: ProxyFacts): string {
  const addresses = zones.flatMap((zone) => zone.addresses);
  const binds = (offset: number, rest: string) =>
    addresses.map((_, index) => `  bind fd@${firstSocket + offset + index}${rest}`).join('\n');
  // haproxy(1) wants one at least; RFC 6761 §6.4 has it that nobody has this.
  const names = ['none.invalid', ...sites.flatMap(namesOf)];
  return `# Written by pi-gateway from /etc/pi-gateway/gateway.yaml; changes here are lost.
global
  log stderr format raw daemon notice
  maxconn 1000
  # What is under way when it is reloaded goes on, and ends at last.
  hard-stop-after 2h
  # Lists of revoked certificates and the page for the CA are answered in one piece.
  tune.bufsize 32768
${tls}

defaults
  mode http
  log global
  option dontlognull
  option dontlog-normal
  timeout connect 5s
  timeout http-request 15s
  timeout http-keep-alive 60s
  timeout client 300s
  timeout client-fin 30s
  timeout server 300s
  timeout tunnel 1h
  timeout queue 15s

# Connections and requests by their source.
backend sources
  stick-table type ipv6 size 50k expire 1m store conn_cur,http_req_rate(10s)

frontend https
${binds(0, ` ssl crt-list ${listFile} strict-sni alpn h2,http/1.1`)}
  tcp-request connection track-sc0 src table sources
  tcp-request connection reject if { sc_conn_cur(0) gt ${mostConnections} }
  http-request set-var(txn.host) req.hdr(host),field(1,:),lower
  # One whose certificate is of another site may not ask here: it would pass by what that one asks of clients.
  http-request deny deny_status 421 unless { ssl_fc_sni,lower,strcmp(txn.host) eq 0 }
  http-request deny deny_status 429 if { sc_http_req_rate(0) gt ${mostRequests} }
  # What only the proxy may say.
  http-request del-header X-Forwarded -m beg
  http-request del-header X_Forwarded -m beg
  http-request del-header Forwarded
  http-request del-header X-Real-IP
  http-request del-header X_Real_IP
  http-request del-header X-Client-Name
  http-request del-header X_Client_Name
  # httpoxy.org
  http-request del-header Proxy
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Proto https
  http-request set-header X-Forwarded-Host %[req.hdr(host)]
  http-request set-header X-Forwarded-Port 443
  http-request set-header X-Real-IP %[src]
${sites.map((site) => `  use_backend site_${site.name} if { var(txn.host) -m str ${namesOf(site).join(' ')} }`).join('\n')}
  default_backend nothing

frontend http
${binds(addresses.length, '')}
  tcp-request connection track-sc0 src table sources
  tcp-request connection reject if { sc_conn_cur(0) gt ${mostConnections} }
  http-request set-var(txn.host) req.hdr(host),field(1,:),lower
${publicAnswers.map(answerLine).join('\n')}
  http-request redirect location ${publicPaths.page} code 302 if { path / } !{ var(txn.host) -m str ${names.join(' ')} }
  http-request redirect prefix https://%[var(txn.host)] code 301 if { var(txn.host) -m str ${names.join(' ')} }
  default_backend nothing

backend nothing
  http-request deny deny_status 404
${sites.map((site) => backend(site, zones)).join('')}`;
}

const namesOf = (site: Site): string[] => [...site.internal, ...site.public];

/** Name of the file, path and media type. */
const publicAnswers: readonly (readonly [string, string, string])[] = [
  ['root.pem', publicPaths.certificate, 'application/x-x509-ca-cert'],
  ['root.pem', publicPaths.pem, 'application/x-pem-file'],
  ['root.mobileconfig', publicPaths.profile, 'application/x-apple-aspen-config'],
  ['issuing.crl', publicPaths.issuingCrl, 'application/pkix-crl'],
  ['root.crl', publicPaths.rootCrl, 'application/pkix-crl'],
  ['trust.html', publicPaths.page, 'text/html; charset=utf-8'],
];
export const publicFiles: readonly string[] = [...new Set(publicAnswers.map(([file]) => file))];

function answerLine([file, path, type]: (typeof publicAnswers)[number]): string {
  return `  http-request return status 200 content-type "${type}" file ${publicFolder}/${file} hdr X-Content-Type-Options nosniff hdr Content-Security-Policy "default-src 'none'; style-src 'unsafe-inline'" if { path ${path} }`;
}

function backend(site: Site, zones: ProxyFacts['zones']): string {
  const networks = zones
    .filter(({ name }) => site.zones.includes(name))
    .flatMap((zone) => zone.networks);
  const { address, port, tls: isTls } = site.to;
  const host = address.includes(':') ? `[${address}]` : address;
  return `
backend site_${site.name}
  # The device itself, and the zones that it is for.
  http-request deny deny_status 403 unless { src 127.0.0.0/8 ::1 ${networks.join(' ')} }
${clientRules(site)}  http-request deny deny_status 413 if { req.hdr_val(content-length) gt ${site.bodyMegabytes * 1_048_576} }
${site.hsts ? `  http-response set-header Strict-Transport-Security max-age=${hstsSeconds}\n` : ''}  timeout server ${site.timeoutSeconds}s
  server app ${host}:${port} maxconn ${site.connections}${isTls ? upstreamTls(site) : ''}
`;
}

/** The certificate was asked for in the handshake, by ${listFile}; without it nobody gets in here, whatever is there. */
function clientRules({ mtls }: Site): string {
  if (mtls === false) return '';
  return `  http-request deny deny_status 403 unless { ssl_c_used } { ssl_c_verify 0 }
${mtls === true ? '' : `  http-request deny deny_status 403 unless { ssl_c_s_dn(cn) -m str ${mtls.join(' ')} }\n`}  http-request set-header X-Client-Name %[ssl_c_s_dn(cn)]
`;
}

function upstreamTls({ name, upstream }: Site): string {
  switch (upstream) {
    case 'none':
      return ' ssl verify none';
    case 'gateway':
      return ` ssl verify required ca-file ${publicFolder}/root.pem verifyhost localhost`;
    case 'own':
      // Whoever that authority vouches for: the address is the owner's word, and need not be in a certificate.
      return ` ssl verify required ca-file ${upstreamCaFile(name)}`;
    default:
      return ' ssl verify required ca-file @system-ca sni req.hdr(host),field(1,:)';
  }
}

/** What the list of certificates (crt-list) says of a site; those without a file are left out by who writes it. */
export function listLines(site: Site, there: ReadonlySet<string>): string[] {
  const clients =
    site.mtls === false ? '' : ` verify required ca-file ${clientCaFile} crl-file ${clientCrlFile}`;
  const line = (file: string, names: readonly string[]) =>
    names.length > 0 && there.has(file)
      ? [`${siteFile(file)} [alpn h2,http/1.1${clients}] ${names.join(' ')}`]
      : [];
  return [
    ...line(certificateOf(site), site.internal),
    ...line(publicCertificateOf(site), site.public),
  ];
}

/** By a public CA, whose files have names of their own. */
export const publicCertificateOf = (site: Pick<Site, 'name'>): string => `public-${site.name}`;

/** With addresses instead of sockets: `haproxy -c` is not started by systemd. */
export function withoutSockets(config: string): string {
  return config.replaceAll(/\bbind fd@\d+/g, 'bind 127.0.0.1:1');
}
