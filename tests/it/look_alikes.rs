//! Servers that speak PostgreSQL's protocol and are not PostgreSQL.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::process::output;

/// Answers every query with one row: `version`.
async fn serve(mut client: TcpStream, version: &'static str) -> std::io::Result<()> {
    loop {
        let length = client.read_u32().await?;
        let mut body = vec![0; length as usize - 4];
        client.read_exact(&mut body).await?;
        let asks_for_tls = body == 80_877_103_u32.to_be_bytes();
        if asks_for_tls {
            client.write_all(b"N").await?;
        } else {
            break;
        }
    }
    let mut answer = message(b'R', &0_u32.to_be_bytes());
    answer.extend(message(b'Z', b"I"));
    client.write_all(&answer).await?;
    let mut status = b'I';
    while let Ok(kind) = client.read_u8().await {
        let length = client.read_u32().await?;
        let mut body = vec![0; length as usize - 4];
        client.read_exact(&mut body).await?;
        let answer = match kind {
            b'Q' => {
                let query = String::from_utf8_lossy(&body).to_lowercase();
                status = if query.starts_with("begin") {
                    b'T'
                } else {
                    b'I'
                };
                let statements = query.matches(';').count() + 1;
                let mut answer: Vec<u8> = (0..statements)
                    .flat_map(|_| message(b'C', b"SET\0"))
                    .collect();
                answer.extend(message(b'Z', &[status]));
                answer
            }
            b'P' => message(b'1', b""),
            b'B' => message(b'2', b""),
            b'C' => message(b'3', b""),
            b'D' => {
                let mut described = message(b't', &0_u16.to_be_bytes());
                let mut row = 1_u16.to_be_bytes().to_vec();
                row.extend(b"version\0");
                row.extend([0; 6]);
                row.extend(25_u32.to_be_bytes());
                row.extend((-1_i16).to_be_bytes());
                row.extend((-1_i32).to_be_bytes());
                row.extend(0_u16.to_be_bytes());
                described.extend(message(b'T', &row));
                described
            }
            b'E' => {
                let mut row = 1_u16.to_be_bytes().to_vec();
                row.extend(u32::try_from(version.len()).unwrap().to_be_bytes());
                row.extend(version.as_bytes());
                let mut answer = message(b'D', &row);
                answer.extend(message(b'C', b"SELECT 1\0"));
                answer
            }
            b'S' => message(b'Z', &[status]),
            b'X' => return Ok(()),
            _ => Vec::new(),
        };
        client.write_all(&answer).await?;
    }
    Ok(())
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    let mut message = vec![kind];
    message.extend(length.to_be_bytes());
    message.extend(body);
    message
}

#[tokio::test]
async fn server_that_is_not_postgresql_is_refused_by_name() {
    for (version, named) in [
        (
            "CockroachDB CCL v25.2.1 (x86_64-pc-linux-gnu, built 2025/05/28)",
            "CockroachDB: it lacks LISTEN and NOTIFY",
        ),
        (
            "PostgreSQL 15.12-YB-2025.1.0.0-b0 on x86_64-pc-linux-gnu",
            "YugabyteDB: it lacks",
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("postgres://u:canary@{}/db", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, version));
            }
        });
        let (code, _, stderr) = output(&["migrate"], [("CVSYNC_DATABASE_URL", &*url)]).await;
        assert_ne!(code, Some(0), "{version}");
        assert!(stderr.contains(named), "{stderr}");
        assert!(stderr.contains("use PostgreSQL 14 or newer"), "{stderr}");
        assert!(!stderr.contains("canary"), "{stderr}");
        serving.abort();
    }
}
