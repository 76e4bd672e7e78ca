#!/usr/bin/env bash
# Looks at a device whose first boot is done, as root. Each line that it prints is something wrong.
# Usage: good-state.sh HOSTNAME TIMEZONE
set -u

is() { # what, found, wanted
  [ "$2" = "$3" ] || echo "$1 is '$2', not '$3'"
}
mode() { # mode, files
  local wanted=$1 file
  shift
  for file in "$@"; do is "mode of $file" "$(stat -c '%a' "$file" 2>&1)" "$wanted"; done
}
whole() { # what, one half, the other half
  [ -n "$2" ] || echo "$1 does not parse"
  is "$1" "$2" "$3"
}

# Waits until nothing is being started any more: systemctl(1).
is 'system' "$(timeout 300 systemctl is-system-running --wait)" running
is 'list of failed units' "$(systemctl --failed --no-legend --plain | awk '{ print $1 }' | xargs)" ''
for unit in ssh.service wg-quick@wg0.service; do
  is "$unit" "$(systemctl is-active "$unit")" active
done
[ -e /var/lib/pi-gateway/firstboot/done ] || echo 'first boot is not stamped as done'

is 'host name' "$(cat /etc/hostname)" "$1"
is 'time zone' "$(timedatectl show --property=Timezone --value)" "$2"
is 'locale' "$(cat /etc/locale.conf /etc/default/locale 2> /dev/null | sed -n 's/^LANG=//p' | tr -d \" | sort -u)" C.UTF-8

for kind in ed25519 rsa; do
  key=/etc/ssh/ssh_host_${kind}_key
  whole "$key" "$(ssh-keygen -y -P '' -f "$key" | cut -d ' ' -f 1,2)" "$(cut -d ' ' -f 1,2 "$key.pub")"
done

server=$(cat /etc/wireguard/server.pub)
whole 'WireGuard server key' "$(wg pubkey < /etc/wireguard/server.key)" "$server"
is 'key of wg0' "$(wg show wg0 public-key)" "$server"
clients=(/etc/wireguard/clients/*.conf)
is 'number of WireGuard clients' "${#clients[@]}" 1
client=$(sed -n 's/^PrivateKey = //p' "${clients[0]}" | wg pubkey)
is 'peer of wg0' "$(wg show wg0 peers)" "$client"
is 'server in the client configuration' "$(sed -n 's/^PublicKey = //p' "${clients[0]}")" "$server"
is 'preshared key of the peer' "$(wg show wg0 preshared-keys | cut -f 2)" \
  "$(sed -n 's/^PresharedKey = //p' "${clients[0]}")"

whole 'CA' "$(openssl pkey -in /etc/pi-gateway/ca/root.key -pubout)" \
  "$(openssl x509 -in /etc/pi-gateway/ca/root.crt -noout -pubkey)"

mode 600 /etc/ssh/ssh_host_{ed25519,rsa}_key /etc/wireguard/server.key "${clients[@]}" \
  /etc/pi-gateway/ca/root.key /etc/pi-gateway/age/identity.txt /etc/pi-gateway/backup/password \
  /etc/pi-gateway/ddns.yaml /var/lib/pi-gateway/claim/{code,hash}
mode 700 /etc/wireguard/clients /etc/pi-gateway/{ca,age,backup} /var/lib/pi-gateway/claim

find /etc /home /root /var/lib /boot/firmware -xdev -name '*.new' -printf 'left over: %p\n'
find /etc/ssh /etc/wireguard /etc/pi-gateway /var/lib/pi-gateway/claim -xdev -type f -empty \
  -printf 'empty: %p\n'
