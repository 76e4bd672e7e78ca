/** The admin that the image's configuration makes. */
export const adminUser = 'gateway';

/** Seconds that a boot under TCG may take on two busy cores. */
export const bootSeconds = 600;

/** The owner's file as a user writes it after flashing. */
export function ownerFile(publicKey: string, more = ''): Record<string, string> {
  return {
    'gateway-device.yaml': `admin:\n  ssh_authorized_keys:\n    - ${publicKey}\n${more}`,
  };
}
