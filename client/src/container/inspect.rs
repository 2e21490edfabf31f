//! What `inspect` says of a container, with docker's keys.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Containers, State, Status, list, state::NetworkMode};
use crate::{error::Result, image::snapshot::Mount, image::snapshot::Snapshots, network::Lease};

/// Docker's way to write that something has not happened.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// Describes a container; with `size`, how much it has written.
///
/// # Errors
/// A snapshot that cannot be read.
pub fn describe(containers: &Containers<'_>, state: &State, size: bool) -> Result<Value> {
    let arguments = state.process.arguments();
    let (path, rest) = arguments
        .split_first()
        .map_or(("", &[][..]), |(path, rest)| (path.as_str(), rest));
    let folder = containers.folder(&state.id);
    let file = |name: &str| folder.join(name).display().to_string();
    let mut described = json!({
        "Id": state.id,
        "Created": state.created,
        "Path": path,
        "Args": rest,
        "State": life(&state.status),
        "Image": state.image.id,
        "ResolvConfPath": file("resolv.conf"),
        "HostnamePath": file("hostname"),
        "HostsPath": file("hosts"),
        "LogPath": containers.log_file(&state.id).display().to_string(),
        "Name": format!("/{}", state.name),
        "RestartCount": 0,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": null,
        "HostConfig": host_config(state),
        "GraphDriver": graph_driver(containers, state)?,
        "Mounts": mounts(state),
        "Config": config(state),
        "NetworkSettings": network_settings(state),
    });
    if let (true, Some(keys)) = (size, described.as_object_mut()) {
        let written = list::folder_bytes(&Snapshots::of(containers.store()).files(state.id.as_str()));
        keys.insert("SizeRw".to_owned(), written.into());
    }
    Ok(described)
}

fn life(status: &Status) -> Value {
    let never = || NEVER.to_owned();
    let time = |time: &Timestamp| time.to_string();
    let (pid, code, started, finished, failure) = match status {
        Status::Created { failure } => (
            0,
            failure.as_ref().map_or(0, |f| f.code),
            never(),
            never(),
            failure.as_ref(),
        ),
        Status::Running { pid, started, .. } => (*pid, 0, time(started), never(), None),
        Status::Exited {
            code,
            started,
            finished,
            failure,
        } => (0, *code, time(started), time(finished), failure.as_ref()),
    };
    json!({
        "Status": list::word(status),
        "Running": matches!(status, Status::Running { .. }),
        "Paused": false,
        "Restarting": false,
        "OOMKilled": false,
        "Dead": false,
        "Pid": pid,
        "ExitCode": code,
        "Error": failure.map_or("", |failure| failure.text.as_str()),
        "StartedAt": started,
        "FinishedAt": finished,
    })
}

fn port_key(port: u16) -> String {
    format!("{port}/tcp")
}

fn host_config(state: &State) -> Value {
    let host = &state.host;
    let mut bindings: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for request in &host.publish {
        bindings
            .entry(port_key(request.container_port))
            .or_default()
            .push(json!({
                "HostIp": request.host_ip.map(|ip| ip.to_string()).unwrap_or_default(),
                "HostPort": request.host_port.map(|port| port.to_string()).unwrap_or_default(),
            }));
    }
    let binds: Vec<String> = host
        .binds
        .iter()
        .map(|bind| {
            let access = if bind.read_only { ":ro" } else { "" };
            format!("{}:{}{access}", bind.source.display(), bind.target.display())
        })
        .collect();
    let list = |names: &[String]| {
        if names.is_empty() {
            Value::Null
        } else {
            json!(names)
        }
    };
    let hosts: Vec<String> = host
        .extra_hosts
        .iter()
        .map(|(name, address)| format!("{name}:{address}"))
        .collect();
    json!({
        "Binds": list(&binds),
        "ContainerIDFile": "",
        "LogConfig": {"Type": "json-file", "Config": {}},
        "NetworkMode": host.network.as_str(),
        "PortBindings": bindings,
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "AutoRemove": host.auto_remove,
        "VolumeDriver": "",
        "VolumesFrom": null,
        "CapAdd": list(&host.cap_add),
        "CapDrop": list(&host.cap_drop),
        "CgroupnsMode": "private",
        "ExtraHosts": list(&hosts),
        "IpcMode": "private",
        "Privileged": false,
        "PublishAllPorts": false,
        "ReadonlyRootfs": host.read_only,
        "Memory": host.limits.memory_bytes.unwrap_or(0),
        "NanoCpus": host.limits.nano_cpus.unwrap_or(0),
        "PidsLimit": host.limits.pids,
        "ShmSize": 67_108_864,
        "Runtime": "wharf-runtime",
    })
}

fn graph_driver(containers: &Containers<'_>, state: &State) -> Result<Value> {
    let snapshots = Snapshots::of(containers.store());
    let data = match snapshots.mounts(state.id.as_str()) {
        Ok(Mount::Overlay { lower, upper }) => {
            let lower: Vec<String> = lower.iter().map(|folder| folder.display().to_string()).collect();
            let (upper, work) = upper.unwrap_or_default();
            json!({
                "LowerDir": lower.join(":"),
                "MergedDir": containers.run_folder(&state.id).join("rootfs"),
                "UpperDir": upper,
                "WorkDir": work,
            })
        }
        Ok(Mount::Bind { source, .. }) => json!({"UpperDir": source}),
        Err(error) if error.kind() == crate::error::Kind::NotFound => Value::Null,
        Err(error) => return Err(error),
    };
    Ok(json!({"Name": "overlay2", "Data": data}))
}

fn mounts(state: &State) -> Vec<Value> {
    let of = |bind: &super::state::Bind| {
        json!({
            "Type": "bind",
            "Source": bind.source,
            "Destination": bind.target,
            "Mode": if bind.read_only { "ro" } else { "" },
            "RW": !bind.read_only,
            "Propagation": bind.propagation.as_deref().unwrap_or("rprivate"),
        })
    };
    state.host.binds.iter().map(of).collect()
}

fn config(state: &State) -> Value {
    let process = &state.process;
    let list = |words: &[String]| {
        if words.is_empty() {
            Value::Null
        } else {
            json!(words)
        }
    };
    let mut ports: Map<String, Value> = state
        .image
        .exposed_ports
        .iter()
        .map(|port| (port.clone(), json!({})))
        .collect();
    ports.extend(
        state
            .host
            .publish
            .iter()
            .map(|request| (port_key(request.container_port), json!({}))),
    );
    let mut config = json!({
        "Hostname": process.hostname,
        "Domainname": "",
        "User": process.user,
        "AttachStdin": process.attached && process.interactive,
        "AttachStdout": process.attached,
        "AttachStderr": process.attached,
        "Tty": process.terminal,
        "OpenStdin": process.interactive,
        "StdinOnce": process.attached && process.interactive,
        "Env": process.env,
        "Cmd": list(&process.command),
        "Image": state.image.reference,
        "Volumes": null,
        "WorkingDir": process.working_dir,
        "Entrypoint": list(&process.entrypoint),
        "OnBuild": null,
        "Labels": process.labels,
    });
    if let Some(keys) = config.as_object_mut() {
        if !ports.is_empty() {
            keys.insert("ExposedPorts".to_owned(), ports.into());
        }
        if !process.stop_signal.is_empty() {
            keys.insert("StopSignal".to_owned(), process.stop_signal.clone().into());
        }
        if let Some(timeout) = process.stop_timeout_s {
            keys.insert("StopTimeout".to_owned(), timeout.into());
        }
    }
    config
}

fn mac(lease: &Lease) -> String {
    lease.mac().map(|byte| format!("{byte:02x}")).join(":")
}

fn network_settings(state: &State) -> Value {
    let lease = state.lease();
    let mut ports: BTreeMap<String, Value> = BTreeMap::new();
    if state.is_running() && state.host.network == NetworkMode::Bridge {
        ports.extend(
            state
                .image
                .exposed_ports
                .iter()
                .map(|port| (port.clone(), Value::Null)),
        );
    }
    for port in lease.map_or(&[][..], |lease| lease.ports.as_slice()) {
        let binding = json!({"HostIp": port.host.ip().to_string(), "HostPort": port.host.port().to_string()});
        match ports
            .get_mut(&port_key(port.container_port))
            .and_then(Value::as_array_mut)
        {
            Some(bindings) => bindings.push(binding),
            None => drop(ports.insert(port_key(port.container_port), json!([binding]))),
        }
    }
    let mac = lease.map(mac).unwrap_or_default();
    let gateway = lease.map(|lease| lease.gateway.to_string()).unwrap_or_default();
    let address = lease.map(|lease| lease.address.to_string()).unwrap_or_default();
    let prefix_len = lease.map_or(0, |lease| lease.prefix_len);
    json!({
        "Bridge": "",
        "SandboxID": "",
        "SandboxKey": "",
        "Ports": ports,
        "MacAddress": mac,
        "Gateway": gateway,
        "IPAddress": address,
        "IPPrefixLen": prefix_len,
        "Networks": {state.host.network.as_str(): {
            "IPAMConfig": null,
            "Links": null,
            "Aliases": null,
            "MacAddress": mac,
            "NetworkID": "",
            "EndpointID": "",
            "Gateway": gateway,
            "IPAddress": address,
            "IPPrefixLen": prefix_len,
            "IPv6Gateway": "",
            "GlobalIPv6Address": "",
            "GlobalIPv6PrefixLen": 0,
            "DNSNames": null,
        }},
    })
}
