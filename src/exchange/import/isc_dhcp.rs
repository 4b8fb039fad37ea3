//! ISC dhcpd's configuration: `host` blocks, wherever they stand, dhcpd.conf(5).
//!
//! `dhcpd.leases` has such blocks too, dhcpd.leases(5): it is a journal, in which the last block of a name is what holds.
//!
//! **Invariant:** a block is told from a statement by its braces alone, so that one of an unknown kind hides no host in it. A host that
//! dhcpd does not know any more, or does not let boot, is never taken over.

use super::{Deletion, Format, Imported, Include, Reach, Reservation, SyntaxError, parse_mac};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Comma,
    Semicolon,
    Open,
    Close,
}

impl Token {
    fn text(&self) -> &str {
        match self {
            Self::Word(text) | Self::Text(text) => text,
            Self::Comma => ",",
            Self::Semicolon => ";",
            Self::Open => "{",
            Self::Close => "}",
        }
    }
}

/// A block that is open.
enum Block {
    /// A host.
    Host { machine: Reservation, standing: Standing },
    /// What only holds others: how many machines there were before it, and whether those in it may boot.
    Group { line: u32, before: usize, standing: Standing },
    /// What is not taken over and was told as that, its statements with it.
    Told { line: u32 },
}

/// What a block says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Standing {
    /// Nothing: it holds.
    #[default]
    Holds,
    /// It was written while dhcpd ran, and takes the place of what was written of this name before.
    Dynamic,
    /// It takes back what was said of its name.
    Deleted,
    /// dhcpd answers no request to boot of it.
    NotBooted,
}

pub(super) fn parse(text: &str) -> Result<Imported, SyntaxError> {
    let mut imported = Imported::default();
    let mut blocks: Vec<Block> = Vec::new();
    let mut words: Vec<(u32, Token)> = Vec::new();
    for (line, token) in tokens(text)? {
        match token {
            Token::Semicolon => end_statement(&mut imported, &mut blocks, std::mem::take(&mut words)),
            Token::Open => blocks.push(open(&mut imported, &blocks, line, std::mem::take(&mut words))),
            Token::Close => {
                end_statement(&mut imported, &mut blocks, std::mem::take(&mut words));
                let closed = blocks.pop();
                let closed = closed.ok_or_else(|| SyntaxError { line, what: "this brace closes no block".to_owned() })?;
                close(&mut imported, closed);
            }
            other => words.push((line, other)),
        }
    }
    match blocks.last() {
        None => {
            end_statement(&mut imported, &mut blocks, words);
            Ok(imported)
        }
        Some(Block::Host { machine: Reservation { line, .. }, .. } | Block::Group { line, .. } | Block::Told { line }) => {
            Err(SyntaxError { line: *line, what: "this block is not closed".to_owned() })
        }
    }
}

fn tokens(text: &str) -> Result<Vec<(u32, Token)>, SyntaxError> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let token = match character {
            '\n' => {
                line += 1;
                continue;
            }
            '#' => {
                while characters.next_if(|next| *next != '\n').is_some() {}
                continue;
            }
            ';' => Token::Semicolon,
            ',' => Token::Comma,
            '{' => Token::Open,
            '}' => Token::Close,
            '"' => {
                let begun = line;
                let mut quoted = String::new();
                loop {
                    match characters.next() {
                        Some('"') => break,
                        Some('\\') => quoted.extend(characters.next()),
                        Some(other) => {
                            line += u32::from(other == '\n');
                            quoted.push(other);
                        }
                        None => return Err(SyntaxError { line: begun, what: "this quote is not closed".to_owned() }),
                    }
                }
                tokens.push((begun, Token::Text(quoted)));
                continue;
            }
            blank if blank.is_whitespace() => continue,
            first => {
                let mut word = String::from(first);
                while let Some(next) = characters.next_if(|next| !next.is_whitespace() && !";,{}\"#".contains(*next)) {
                    word.push(next);
                }
                Token::Word(word)
            }
        };
        tokens.push((line, token));
    }
    Ok(tokens)
}

fn spelled(words: &[(u32, Token)]) -> String {
    let quoted = |token: &Token| match token {
        Token::Text(text) => format!("{text:?}"),
        other => other.text().to_owned(),
    };
    words.iter().map(|(_, token)| quoted(token)).collect::<Vec<_>>().join(" ").replace(" ,", ",")
}

fn open(imported: &mut Imported, blocks: &[Block], line: u32, words: Vec<(u32, Token)>) -> Block {
    let begun = words.first().map_or(line, |(line, _)| *line);
    let kind = words.first().map(|(_, token)| token.text().to_ascii_lowercase());
    match kind.as_deref() {
        Some("host") => {
            let name = words.get(1).map(|(_, token)| token.text().to_owned());
            let declared = name.clone();
            let machine = Reservation { line: begun, name, declared, macs: Vec::new(), ip: None };
            Block::Host { machine, standing: Standing::default() }
        }
        Some("group" | "subnet" | "shared-network") => {
            Block::Group { line: begun, before: imported.machines.len(), standing: Standing::default() }
        }
        _ => {
            if !matches!(blocks.last(), Some(Block::Told { .. })) {
                imported.leave(begun, format!("{} {{ … }}", spelled(&words)));
            }
            Block::Told { line: begun }
        }
    }
}

fn close(imported: &mut Imported, block: Block) {
    let (machine, standing) = match block {
        Block::Host { machine, standing } => (machine, standing),
        Block::Group { before, standing: Standing::NotBooted, .. } => {
            for machine in imported.machines.split_off(before.min(imported.machines.len())) {
                leave_unbooted(imported, &machine);
            }
            return;
        }
        Block::Group { .. } | Block::Told { .. } => return,
    };
    let name = machine.declared.clone().unwrap_or_default();
    match standing {
        Standing::Deleted => {
            let earlier = imported.machines.iter().rev().find(|earlier| earlier.declared == machine.declared).map(|it| it.line);
            let of = earlier.map(|line| format!(" of line {line}")).unwrap_or_default();
            imported.leave(machine.line, format!("host {name}{of}: it is deleted"));
            imported.machines.retain(|earlier| earlier.declared != machine.declared);
            imported.deletions.push(Deletion { line: machine.line, declared: name });
        }
        Standing::NotBooted => leave_unbooted(imported, &machine),
        Standing::Holds | Standing::Dynamic if machine.macs.is_empty() => {
            imported.leave(machine.line, format!("host {name}: it has no Ethernet address"));
        }
        Standing::Holds => imported.machines.push(machine),
        Standing::Dynamic => {
            if let Some(at) = imported.machines.iter().position(|earlier| earlier.declared == machine.declared) {
                let earlier = imported.machines.remove(at).line;
                imported.leave(earlier, format!("host {name}: line {} says later what it is", machine.line));
            }
            imported.machines.push(machine);
        }
    }
}

fn leave_unbooted(imported: &mut Imported, machine: &Reservation) {
    let name = machine.declared.as_deref().unwrap_or_default();
    imported.leave(machine.line, format!("host {name}: dhcpd does not let it boot"));
}

fn end_statement(imported: &mut Imported, blocks: &mut [Block], words: Vec<(u32, Token)>) {
    let Some((line, _)) = words.first() else { return };
    let line = *line;
    let lower: Vec<String> = words.iter().map(|(_, token)| token.text().to_ascii_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    let told = match blocks.last_mut() {
        Some(Block::Host { machine, standing }) => end_in_host(imported, (machine, standing), &words, &lower),
        Some(Block::Told { .. }) => None,
        Some(Block::Group { standing, .. }) if matches!(lower[..], ["deny" | "ignore", "booting"]) => {
            *standing = Standing::NotBooted;
            None
        }
        Some(Block::Group { .. }) | None => match lower[..] {
            ["include", _] => {
                let path = words[1].1.text().to_owned();
                imported.includes.push(Include { line, path, format: Format::IscDhcp, reach: Reach::File, endings: Vec::new() });
                None
            }
            _ => Some(spelled(&words)),
        },
    };
    if let Some(told) = told {
        imported.leave(line, told);
    }
}

/// Takes a host's statement over; what it is, if it cannot be.
fn end_in_host(
    imported: &mut Imported,
    (machine, standing): (&mut Reservation, &mut Standing),
    words: &[(u32, Token)],
    lower: &[&str],
) -> Option<String> {
    let host = machine.name.clone().unwrap_or_default();
    let line = words.first().map_or(machine.line, |(line, _)| *line);
    let told = || Some(format!("host {host}: {}", spelled(words)));
    match lower {
        ["hardware", "ethernet", mac] => match parse_mac(mac) {
            Some(mac) => {
                machine.macs.push(mac);
                None
            }
            None => told(),
        },
        ["fixed-address", addresses @ ..] => {
            let all: Vec<&str> = addresses.iter().copied().filter(|word| *word != ",").collect();
            match (all.first().and_then(|first| imported.read_ip(line, first)), all.len()) {
                (Some(ip), 1) => {
                    machine.ip = Some(ip);
                    None
                }
                (Some(ip), _) => {
                    machine.ip = Some(ip);
                    Some(format!("host {host}: {} but its first", spelled(words)))
                }
                // A name, which dhcpd looks up when it starts.
                (None, _) => told(),
            }
        }
        ["option", "host-name", _] => {
            machine.name = Some(words[2].1.text().to_owned());
            None
        }
        ["deleted"] => {
            *standing = Standing::Deleted;
            None
        }
        ["deny" | "ignore", "booting"] => {
            if *standing != Standing::Deleted {
                *standing = Standing::NotBooted;
            }
            None
        }
        ["dynamic"] => {
            if *standing == Standing::Holds {
                *standing = Standing::Dynamic;
            }
            None
        }
        _ => told(),
    }
}
