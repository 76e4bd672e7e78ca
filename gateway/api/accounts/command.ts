import { type Command, InvalidArgumentError, Option } from 'commander';
import { GatewayError } from '../../errors.ts';
import { readHidden, readLine } from '../../hidden-input.ts';
import { type Output, print, table } from '../../terminal.ts';
import { type AnswerOf, type Client, localClient } from '../client.ts';
import { type Role, roles, type Scope, scopes } from '../operation.ts';

const roleOption = () =>
  new Option('--role <role>', 'viewer may look, admin may change').choices(roles);

/** `pi-gateway account …` and `pi-gateway token …`: who may use the dashboard and the API. */
export function addAccountCommands(program: Command, connect: () => Client = localClient): void {
  addAccounts(program, connect);
  addTokens(program, connect);
}

function addAccounts(program: Command, connect: () => Client): void {
  const change = async (name: string, body: Change, output: Output, text: string) =>
    print(output, await connect().call('accountChange', { params: { name }, body }), text);

  const account = program
    .command('account')
    .description('who may log in to the dashboard; root can always set another password');

  account
    .command('list')
    .description('all accounts')
    .option('--json', 'for machines')
    .action(async (output: Output) => {
      const { accounts } = await connect().call('accountList');
      print(
        output,
        accounts,
        accounts.length === 0
          ? 'There is no account yet. The claim code makes the first, in the dashboard; or: sudo pi-gateway account add NAME --role admin'
          : table([
              ['NAME', 'ROLE', 'SECOND FACTOR', 'PASSWORD OF'],
              ...accounts.map((one) => [
                one.name,
                one.role,
                one.totp ? 'yes' : 'no',
                day(one.password_changed),
              ]),
            ]),
      );
    });

  account
    .command('add')
    .description('makes an account; asks for its password, or reads it from standard input')
    .argument('<name>', 'small letters, digits, dot, hyphen and underscore')
    .addOption(roleOption().default('viewer' satisfies Role))
    .option('--json', 'for machines')
    .addHelpText(
      'after',
      `
Examples:
  sudo pi-gateway account add ada --role admin
  pass show gateway/ada | ssh gateway@pi-gateway sudo pi-gateway account add ada`,
    )
    .action(async (name: string, { role, ...output }: Output & { role: Role }) => {
      const password = await askNewPassword(name);
      const added = await connect().call('accountAdd', { body: { name, role, password } });
      print(output, added, `${added.name} may log in now, as ${added.role}.`);
    });

  account
    .command('password')
    .description("sets another password; ends the account's sessions and its lock-out")
    .argument('<name>', 'the account')
    .option('--json', 'for machines')
    .action(async (name: string, output: Output) => {
      const password = await askNewPassword(name);
      await change(name, { password }, output, `${name} logs in by the new password now.`);
    });

  account
    .command('role')
    .description('gives an account another role; ends its sessions')
    .argument('<name>', 'the account')
    .addOption(roleOption().makeOptionMandatory())
    .option('--json', 'for machines')
    .action(async (name: string, { role, ...output }: Output & { role: Role }) => {
      await change(name, { role }, output, `${name} is ${role} now.`);
    });

  account
    .command('totp-off')
    .description('turns the second factor off, e.g. when the phone is lost')
    .argument('<name>', 'the account')
    .option('--json', 'for machines')
    .action(async (name: string, output: Output) => {
      await change(name, { totp: false }, output, `${name} logs in by the password alone now.`);
    });

  account
    .command('remove')
    .description('removes an account with its sessions and tokens; never the last admin')
    .argument('<name>', 'the account')
    .option('--json', 'for machines')
    .action(async (name: string, output: Output) => {
      await connect().call('accountRemove', { params: { name } });
      print(output, { removed: name }, `${name} is gone, with all sessions and tokens.`);
    });
}

type Change = { role?: Role; password?: string; totp?: false };

function addTokens(program: Command, connect: () => Client): void {
  const token = program.command('token').description('API tokens, for programs');

  token
    .command('list')
    .description('all tokens, without what they are made of')
    .option('--json', 'for machines')
    .action(async (output: Output) => {
      const { tokens } = await connect().call('tokenList');
      print(output, tokens, tokens.length === 0 ? 'There is no token.' : tokenTable(tokens));
    });

  token
    .command('add')
    .description('makes a token and prints it, this once')
    .argument('<name>', 'what it is for')
    .addOption(roleOption().default('viewer' satisfies Role))
    .option(
      '--scope <scope...>',
      'limits it: metrics:read vpn:write …; none: all of its role',
      scope,
    )
    .option('--days <days>', 'how long it is good; else it has no end', days)
    .option('--json', 'for machines')
    .addHelpText(
      'after',
      `
Scopes: ${scopes.filter((one) => one !== 'accounts:write').join(' ')}

Example:
  sudo pi-gateway token add prometheus --scope metrics:read`,
    )
    .action(
      async (
        name: string,
        o: Output & { role: Role; scope?: TokenScope[]; days?: number },
      ): Promise<void> => {
        const made = await connect().call('tokenAdd', {
          body: {
            name,
            role: o.role,
            ...(o.scope ? { scopes: o.scope } : {}),
            ...(o.days === undefined ? {} : { expires: inDays(o.days) }),
          },
        });
        // The token alone on standard output, so that it can go into a file.
        if (!o.json) process.stderr.write('Keep it: it is not shown again.\n');
        print(o, made, made.token);
      },
    );

  token
    .command('revoke')
    .description('ends a token, at once')
    .argument('<name>', 'its name, or its id')
    .option('--json', 'for machines')
    .action(async (name: string, output: Output) => {
      const client = connect();
      const { tokens } = await client.call('tokenList');
      const found = tokens.find((one) => one.name === name || one.id === name);
      if (!found)
        throw new GatewayError(
          `There is no token ${name}`,
          'See which there are: sudo pi-gateway token list',
          'missing',
        );
      await client.call('tokenRemove', { params: { id: found.id } });
      print(output, { revoked: found.name }, `${found.name} is good no more.`);
    });
}

type TokenScope = Exclude<Scope, 'accounts:write'>;

function scope(text: string, before: TokenScope[] = []): TokenScope[] {
  const found = scopes.find((one) => one === text);
  if (found === undefined || found === 'accounts:write')
    throw new InvalidArgumentError('See the scopes in --help.');
  return [...before, found];
}

function days(text: string): number {
  const count = Number(text);
  if (!/^\d+$/.test(text) || count < 1 || count > 3650)
    throw new InvalidArgumentError('It must be 1 to 3650 days.');
  return count;
}

function inDays(count: number): string {
  return new Date(Date.now() + count * 86_400_000).toISOString();
}

function tokenTable(tokens: AnswerOf<'tokenList'>['tokens']): string {
  return table([
    ['NAME', 'ROLE', 'OWNER', 'USED', 'ENDS', 'SCOPES'],
    ...tokens.map((one) => [
      one.name,
      one.role,
      one.owner,
      one.last_used === null ? 'never' : day(one.last_used),
      one.expires === null ? 'never' : day(one.expires),
      one.scopes?.join(' ') ?? 'all of its role',
    ]),
  ]);
}

function day(time: string): string {
  return time.slice(0, 10);
}

/** Twice from a terminal, as nobody sees what is typed; once from a pipe. */
async function askNewPassword(name: string): Promise<string> {
  if (!process.stdin.isTTY) return await readLine('password');
  const password = await readHidden(`New password of ${name} (at least 12 characters): `);
  if ((await readHidden('Once more: ')) !== password)
    throw new GatewayError('The two are not the same', 'Try again', 'refused');
  return password;
}
