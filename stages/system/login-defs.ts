/** login.defs(5) with the image's values: a key that is set is set anew where it stands. */
export function withLoginDefs(text: string): string {
  let result = text;
  for (const [key, value] of Object.entries(loginDefs)) {
    const line = `${key}\t${value}`;
    const present = new RegExp(`^${key}[ \\t].*$`, 'm');
    result = present.test(result)
      ? result.replace(present, line)
      : `${result.trimEnd()}\n${line}\n`;
  }
  return result;
}

const loginDefs = {
  // For accounts that have a password, which none of the image has (CIS Debian 5.4.1.1 to 5.4.1.3). Those
  // that come with a key are not shut out by an old password: pam-configs/gateway-key-login.
  PASS_MAX_DAYS: '365',
  PASS_MIN_DAYS: '1',
  PASS_WARN_AGE: '7',
  // CIS Debian 5.4.3.3.
  UMASK: '027',
  HOME_MODE: '0700',
  // CIS Debian 5.4.1.4. Cost 8 of 11: a quarter of a second on a Pi 4, crypt(5).
  ENCRYPT_METHOD: 'YESCRYPT',
  YESCRYPT_COST_FACTOR: '8',
  // For whoever chooses SHA-512 instead: OWASP's least number of rounds.
  SHA_CRYPT_MIN_ROUNDS: '210000',
  SHA_CRYPT_MAX_ROUNDS: '500000',
  LOG_OK_LOGINS: 'yes',
  LOGIN_RETRIES: '3',
};
