//! A room of machines that fetch one file over TFTP at once, as their firmware does: one blocking socket each, the last packet
//! repeated after a second of silence. Compiled by the benchmark itself with `rustc -O`, so it uses the standard library alone.
//!
//! `tftp_client SERVER:PORT FILE SIZE MACHINES BLKSIZE WINDOWSIZE` prints the seconds until the last machine has its file, and the
//! median of the seconds a machine waited. A machine that gives up or gets another size ends the program with an error.

use std::{
    env,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    process::exit,
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    let number = |at: usize| words[at].parse::<usize>().expect("a number");
    let server: SocketAddr = words[0].parse().expect("SERVER:PORT");
    let (file, size, machines, blksize, window) = (words[1].clone(), number(2), number(3), number(4), number(5));
    let barrier = Arc::new(Barrier::new(machines + 1));
    let room: Vec<_> = (0..machines)
        .map(|machine| {
            let (file, barrier) = (file.clone(), barrier.clone());
            let work = move || {
                // A server may bound the transfers of one address: machines have their own, 10.99.2.x and on.
                let own = Ipv4Addr::new(10, 99, 2 + (machine / 200) as u8, (machine % 200 + 1) as u8);
                let socket = UdpSocket::bind((own, 0)).expect("the address is there");
                barrier.wait();
                let begun = Instant::now();
                let got = fetch(&socket, server, &file, blksize, window);
                if got != Some(size) {
                    eprintln!("machine {machine} got {got:?} of {size} bytes");
                    exit(1);
                }
                begun.elapsed()
            };
            thread::Builder::new().stack_size(256 << 10).spawn(work).expect("a thread")
        })
        .collect();
    barrier.wait();
    let begun = Instant::now();
    let mut waits: Vec<Duration> = room.into_iter().map(|machine| machine.join().expect("no panic")).collect();
    let wall = begun.elapsed();
    waits.sort();
    println!("{:.4} {:.4}", wall.as_secs_f64(), waits[waits.len() / 2].as_secs_f64());
}

fn fetch(socket: &UdpSocket, server: SocketAddr, file: &str, blksize: usize, window: usize) -> Option<usize> {
    let mut request = [&[0, 1], file.as_bytes(), b"\0octet\0tsize\00\0blksize\0"].concat();
    request.extend(format!("{blksize}\0").bytes());
    if window > 1 {
        request.extend(format!("windowsize\0{window}\0").bytes());
    }
    socket.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    let (mut last, mut to) = (request, server);
    let (mut expected, mut taken, mut in_window, mut granted, mut silent) = (1u16, 0usize, 0usize, 1usize, 0);
    let (mut complained, mut transfer) = (false, None);
    socket.send_to(&last, to).ok()?;
    let mut datagram = [0; 2048];
    loop {
        let Ok((length, from)) = socket.recv_from(&mut datagram) else {
            silent += 1;
            if silent > 30 {
                return None;
            }
            complained = false;
            socket.send_to(&last, to).ok()?;
            continue;
        };
        if *transfer.get_or_insert(from) != from || length < 4 {
            continue;
        }
        (to, silent) = (from, 0);
        match datagram[1] {
            6 => {
                if taken > 0 {
                    continue;
                }
                let words: Vec<_> = datagram[2..length].split(|byte| *byte == 0).collect();
                let value = words.chunks(2).find(|pair| pair[0].eq_ignore_ascii_case(b"windowsize")).map(|pair| pair[1]);
                granted = value.and_then(|value| std::str::from_utf8(value).ok()?.parse().ok()).unwrap_or(1);
                last = vec![0, 4, 0, 0];
            }
            3 if u16::from_be_bytes([datagram[2], datagram[3]]) == expected => {
                taken += length - 4;
                in_window += 1;
                complained = false;
                last = [&[0, 4], &expected.to_be_bytes()[..]].concat();
                expected = expected.wrapping_add(1);
                if length - 4 < blksize {
                    socket.send_to(&last, to).ok()?;
                    return Some(taken);
                }
                if in_window < granted {
                    continue;
                }
            }
            // The last block that came in order is said again: in lock step for each block that comes twice, as iPXE and edk2 do,
            // in windows once for each gap (RFC 7440 §4).
            3 if granted == 1 || !complained => complained = true,
            3 => continue,
            _ => return None,
        }
        in_window = 0;
        socket.send_to(&last, to).ok()?;
    }
}
