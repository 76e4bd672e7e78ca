/**
 * For tests: one customisation as Raspberry Pi Imager 2 writes it in each of its formats, by its source
 * (rpi-imager, src/customization_generator.cpp and src/downloadthread.cpp).
 */

export const keyOf = (byte: number, comment: string) =>
  `ssh-ed25519 ${Buffer.concat([
    Buffer.from([0, 0, 0, 11]),
    Buffer.from('ssh-ed25519'),
    Buffer.from([0, 0, 0, 32]),
    Buffer.alloc(32, byte),
  ]).toString('base64')} ${comment}`;
export const key = keyOf(1, 'kim@laptop');
export const secondKey = keyOf(2, "josé's phone");
export const hash = `$y$j9T$Salt.Of.Sixteen/$${'h'.repeat(43)}`;
export const psk = '0123456789abcdef'.repeat(4);

/** What each of them asks for. */
export const wanted = {
  hostname: 'attic',
  admin: { name: 'kim', ssh_authorized_keys: [key, secondKey], password_hash: hash },
  timezone: 'Europe/Berlin',
  keyboard: { layout: 'de' },
  network: { wifi: { country: 'DE', ssid: 'Café', password: psk, hidden: true } },
};

export const commandLine =
  'console=serial0,115200 console=tty1 root=PARTUUID=f9803cbc-02 rootfstype=ext4 fsck.repair=yes rootwait';

export const cloudInit = {
  'cmdline.txt': `${commandLine} cfg80211.ieee80211_regdom=DE ds=nocloud;i=rpi-imager-1790000000000\n`,
  'meta-data': 'instance-id: rpi-imager-1790000000000\n',
  'user-data': `#cloud-config
manage_resolv_conf: false

hostname: "attic"
manage_etc_hosts: true
packages:
- avahi-daemon
apt:
  preserve_sources_list: true
  conf: |
    Acquire {
      Check-Date "false";
    };
timezone: "Europe/Berlin"
keyboard:
  model: pc105
  layout: "de"
user:
  name: "kim"
  shell: /bin/bash
  lock_passwd: false
  passwd: "${hash}"
  ssh_authorized_keys:
    - "${key}"
    - "${secondKey.replace('é', '\\xc3\\xa9')}"
  sudo: null
ssh_pwauth: false
runcmd:
  - [ systemctl, enable, --now, ssh ]
`,
  'network-config': `network:
  version: 2
  ethernets:
    eth0:
      dhcp4: true
      dhcp6: true
      optional: true
  wifis:
    wlan0:
      dhcp4: true
      regulatory-domain: "DE"
      access-points:
        "Caf\\xc3\\xa9":
          hidden: true
          password: "${psk}"
      optional: true
`,
};

/** What cloudinit-rpi adds to user-data. */
export const rpi = `rpi:
  enable_usb_gadget: true
  interfaces:
    i2c: true
    serial:
      console: true
      hardware: false
`;

/** As Imager quotes for the shell. */
export const quoted = (text: string) => `'${text.replaceAll("'", `'"'"'`)}'`;
export const helper = '/usr/lib/raspberrypi-sys-mods/imager_custom';

export const firstrun = {
  'cmdline.txt': `${commandLine} cfg80211.ieee80211_regdom=DE systemd.run=/boot/firstrun.sh systemd.run_success_action=reboot systemd.unit=kernel-command-line.target\n`,
  'firstrun.sh': `#!/bin/sh

set +e

IMAGER_HOSTNAME='attic'
CURRENT_HOSTNAME=$(cat /etc/hostname | tr -d " \\t\\n\\r")
if [ -f ${helper} ]; then
   ${helper} set_hostname "$IMAGER_HOSTNAME"
else
   echo "$IMAGER_HOSTNAME" >/etc/hostname
fi
FIRSTUSER=$(getent passwd 1000 | cut -d: -f1)
FIRSTUSERHOME=$(getent passwd 1000 | cut -d: -f6)
if [ -f ${helper} ]; then
   ${helper} enable_ssh -k ${quoted(key)} ${quoted(secondKey)}
else
   install -o "$FIRSTUSER" -m 700 -d "$FIRSTUSERHOME/.ssh"
cat > "$FIRSTUSERHOME/.ssh/authorized_keys" <<'EOF'
${key}
${secondKey}
EOF
   systemctl enable ssh
fi
IMAGER_USER='kim'
IMAGER_PASS='${hash}'
IMAGER_USER_SED=$(printf '%s' "$IMAGER_USER" | sed -e 's/[\\\\/&]/\\\\&/g')
if [ -f /usr/lib/userconf-pi/userconf ]; then
   /usr/lib/userconf-pi/userconf "$IMAGER_USER" '${hash}'
else
   echo "$FIRSTUSER:$IMAGER_PASS" | chpasswd -e
fi
if [ -f ${helper} ] && true; then
   ${helper} set_wlan  -h 'Café' '${psk}' 'DE'
else
cat >/etc/wpa_supplicant/wpa_supplicant.conf <<'WPAEOF'
country=DE
ctrl_interface=DIR=/var/run/wpa_supplicant GROUP=netdev
ap_scan=1

update_config=1
network={
	scan_ssid=1
	ssid="Café"
	key_mgmt=WPA-PSK SAE
	psk=${psk}
	ieee80211w=1
}
WPAEOF
   chmod 600 /etc/wpa_supplicant/wpa_supplicant.conf
   rfkill unblock wifi
fi
if [ -f ${helper} ]; then
   ${helper} set_keymap 'de'
   ${helper} set_timezone 'Europe/Berlin'
else
   rm -f /etc/localtime
   echo "Europe/Berlin" >/etc/timezone
cat >/etc/default/keyboard <<'KBEOF'
XKBMODEL="pc105"
XKBLAYOUT="de"
KBEOF
fi
rm -f /boot/firstrun.sh
sed -i 's| systemd.run.*||g' /boot/cmdline.txt
exit 0
`,
};

export const preseed = {
  'rpi-preseed.toml': `config_version = "1.0"

[system]
hostname = "attic"

[user]
name = "kim"
password = "${hash}"
password_encrypted = true
groups = ["sudo"]

[ssh]
enabled = true
password_authentication = false
authorized_keys = [
  "${key}",
  "${secondKey}",
]

[wlan]
ssid = "Café"
password = "${psk}"
password_encrypted = true
hidden = true
country = "DE"

[locale]
keymap = "de"
timezone = "Europe/Berlin"
`,
};
