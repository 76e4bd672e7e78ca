import { offFile } from '../../gateway/extensions/installed.ts';
import {
  gatewayDescriptor,
  gatewaySocketOf,
  type Manifest,
  socketOf,
  unitOf,
} from '../../gateway/extensions/manifest.ts';
import { unitsOf } from '../../gateway/extensions/units.ts';

/**
 * systemd units of an extension's runtime part, by name. They are made of the manifest alone, so what it does not
 * declare its service does not have: systemd.exec(5), systemd.socket(5).
 */
export function unitFiles(manifest: Manifest): Record<string, string> {
  const { service, socket, ports, gateway } = unitsOf(manifest);
  if (service === undefined || socket === undefined) return {};
  return {
    [socket]: apiSocket(manifest),
    [service]: serviceUnit(manifest),
    ...(gateway === undefined ? {} : { [gateway]: gatewaySocket(manifest) }),
    ...Object.fromEntries(
      [...ports].map(([port, unit]) => [unit, portSocket(manifest, port, service)]),
    ),
  };
}

/** In a unit's values % begins a specifier: systemd.unit(5). */
const plain = (text: string) => text.replaceAll('%', '%%');

/** A question that starts a service which ends at once is not asked for ever: systemd.socket(5). */
const limits = `TriggerLimitIntervalSec=1min
TriggerLimitBurst=20`;

function apiSocket({ name, title }: Manifest): string {
  return `[Unit]
Description=Pi Gateway: questions to the extension ${plain(title)}
ConditionPathExists=!${offFile(name)}

[Socket]
ListenStream=${socketOf(name)}
# The API alone asks it. The folder is root's, so nobody else can be in its place.
SocketUser=root
SocketGroup=pi-gatewayd
SocketMode=0660
DirectoryMode=0755
RemoveOnStop=yes
FileDescriptorName=api
${limits}

[Install]
WantedBy=sockets.target
`;
}

/** The other way round: what its service asks of the gateway, and nobody else over this one. */
function gatewaySocket({ name, title }: Manifest): string {
  return `[Unit]
Description=Pi Gateway: questions of the extension ${plain(title)}

[Socket]
ListenStream=${gatewaySocketOf(name)}
SocketUser=${unitOf(name)}
SocketMode=0600
DirectoryMode=0755
FileDescriptorName=${gatewayDescriptor(name)}
Service=pi-gatewayd.service

[Install]
WantedBy=sockets.target
`;
}

function portSocket({ name, title, permissions }: Manifest, port: string, service: string): string {
  const listen = permissions.ports[port];
  return `[Unit]
Description=Pi Gateway: port ${port} of the extension ${plain(title)}
ConditionPathExists=!${offFile(name)}

[Socket]
${listen?.protocol === 'udp' ? 'ListenDatagram' : 'ListenStream'}=${listen?.port}
FileDescriptorName=${port}
Service=${service}
${limits}

[Install]
WantedBy=sockets.target
`;
}

function serviceUnit(manifest: Manifest): string {
  const { name, title, service, permissions } = manifest;
  const user = unitOf(name);
  const memory = service?.memory_mb ?? 0;
  const { socket, ports } = unitsOf(manifest);
  return `[Unit]
Description=Pi Gateway: extension ${plain(title)}
ConditionPathExists=!${offFile(name)}
# The gateway itself comes first.
After=multi-user.target
StartLimitIntervalSec=10min
StartLimitBurst=5

[Service]
ExecStart=${commandOf(manifest)}
Sockets=${[socket, ...ports.values()].join(' ')}
User=${user}
Group=${user}
Environment=PI_GATEWAY_EXTENSION_API=${manifest.apiVersion} HOME=/nonexistent
${permissions.api.length > 0 ? `Environment=PI_GATEWAY_SOCKET=${gatewaySocketOf(name)}\n` : ''}StateDirectory=pi-gateway-x/${name}
StateDirectoryMode=0700
# In the image, of its overlay.
ConfigurationDirectory=pi-gateway-x/${name}
${service?.start === 'boot' ? 'Restart=always' : 'Restart=on-failure'}
RestartSec=10s
TimeoutStartSec=30s
TimeoutStopSec=10s
# What it may take of a small device: an extension is nobody's reason to wait.
MemoryHigh=${Math.floor(memory * 0.9)}M
MemoryMax=${memory}M
MemorySwapMax=${memory}M
TasksMax=32
CPUWeight=10
CPUQuota=50%
IOWeight=10
Nice=10
OOMScoreAdjust=500
LimitNOFILE=256
LimitFSIZE=64M
LimitCORE=0
LogRateLimitIntervalSec=30s
LogRateLimitBurst=100
${networkOf(manifest)}
ProtectSystem=strict
${permissions.writes.map((path) => `ReadWritePaths=-${path}\n`).join('')}# Secrets and sockets of the gateway, which its user could not open anyway.
InaccessiblePaths=-/etc/pi-gateway -/etc/wireguard -/etc/ssh -/boot/firmware -/var/log
InaccessiblePaths=-/var/lib/pi-gateway -/run/pi-gateway -/run/pi-gatewayd -/run/dbus -/run/systemd/private
CapabilityBoundingSet=
AmbientCapabilities=
NoNewPrivileges=yes
ProtectHome=yes
PrivateDevices=yes
PrivateMounts=yes
PrivateTmp=yes
PrivateUsers=yes
PrivateIPC=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProcSubset=pid
KeyringMode=private
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
UMask=0077
${service?.start === 'boot' ? '\n[Install]\nWantedBy=multi-user.target\n' : ''}`;
}

function commandOf({ name, service }: Manifest): string {
  if (service?.command) return service.command.map((word) => `"${word}"`).join(' ');
  // Interpreted, as the gateway's own programs: no memory need be both written and executed. V8's old
  // generation at half of the service's memory leaves room for node itself.
  const heap = Math.max(8, Math.floor((service?.memory_mb ?? 0) / 2));
  return `/usr/bin/node --jitless --no-expose-wasm --max-semi-space-size=1 --max-old-space-size=${heap} ${programOf(name)}`;
}

/** Where its bundled program lies on the device. */
export const programOf = (name: string) => `/usr/lib/pi-gateway-x/${name}/service.mjs`;

function networkOf({ permissions: { network } }: Manifest): string {
  if (network.length === 0)
    return `PrivateNetwork=yes
RestrictAddressFamilies=AF_UNIX
IPAddressDeny=any`;
  // systemd-resolved's own address, systemd-resolved.service(8); what else listens on loopback counts on being alone there.
  const resolver = '127.0.0.53 127.0.0.54';
  return network.includes('any')
    ? `RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
IPAddressDeny=localhost link-local
IPAddressAllow=${resolver}`
    : `RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
IPAddressDeny=any
IPAddressAllow=${[...network, resolver].join(' ')}`;
}
