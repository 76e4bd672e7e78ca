import { OwnerError } from '../step.ts';

/** What a customisation says, before any of it is checked. */
export type Found = {
  hostname?: string | undefined;
  user?: string | undefined;
  passwordHash?: string | undefined;
  keys?: readonly string[] | undefined;
  wifi?: { ssid: string; password?: string | undefined; hidden?: boolean | undefined } | undefined;
  country?: string | undefined;
  locale?: string | undefined;
  timezone?: string | undefined;
  layout?: string | undefined;
  variant?: string | undefined;
  /** What is not applied: `X: reason`. */
  unused: readonly string[];
};

export const passwordLogin = 'log-in by password over SSH: passwords never open SSH here';
export const connect = 'Raspberry Pi Connect: remote access is by WireGuard here';
export const interfaces = 'hardware interfaces (I2C, SPI, serial, USB gadget): the image sets them';
export const sudoRules = "sudo's rules: the image has its own for the admin";

/** A customisation that was not written as Imager writes it, or not whole. */
export function damaged(place: string, what: string): OwnerError {
  return new OwnerError(
    `${place}: ${what}`,
    'Write the card again with Raspberry Pi Imager, or remove the file and use gateway-device.yaml',
  );
}
