{
  description = "Turns a Linux server into a diskless café: a git push becomes LVM, LIO, DHCP, TFTP and iPXE";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      each = make: nixpkgs.lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});
    in
    {
      packages = each (pkgs: {
        default = pkgs.rustPlatform.buildRustPackage {
          pname = "barista";
          version = (builtins.fromTOML (builtins.readFile ./Cargo.toml)).package.version;
          src = self;
          cargoLock.lockFile = ./Cargo.lock;
          # The integration tests push through git's own hooks.
          nativeCheckInputs = [ pkgs.git ];
          nativeBuildInputs = [ pkgs.installShellFiles ];
          postInstall = pkgs.lib.optionalString (pkgs.stdenv.buildPlatform.canExecute pkgs.stdenv.hostPlatform) ''
            $out/bin/barista man --write man
            installManPage man/*.1
            installShellCompletion --cmd barista \
              --bash <($out/bin/barista completions bash) \
              --fish <($out/bin/barista completions fish) \
              --zsh <($out/bin/barista completions zsh)
          '';
          meta.mainProgram = "barista";
        };
      });

      devShells = each (pkgs: {
        default = pkgs.mkShell {
          inputsFrom = [ self.packages.${pkgs.stdenv.hostPlatform.system}.default ];
          packages = with pkgs; [
            cargo
            clippy
            rustfmt
            rust-analyzer
            git
            lvm2
            qemu
          ];
        };
      });

      formatter = each (pkgs: pkgs.nixfmt-rfc-style);

      nixosModules.default =
        {
          config,
          lib,
          pkgs,
          ...
        }:
        let
          cfg = config.services.barista;
          barista = lib.getExe cfg.package;
          # What both services do without.
          sandbox = {
            NoNewPrivileges = true;
            ProtectSystem = "strict";
            PrivateTmp = true;
            ProtectClock = true;
            ProtectHostname = true;
            ProtectKernelLogs = true;
            ProtectControlGroups = true;
            RestrictNamespaces = true;
            RestrictRealtime = true;
            RestrictSUIDSGID = true;
            LockPersonality = true;
            MemoryDenyWriteExecute = true;
            SystemCallArchitectures = "native";
          };
        in
        {
          options.services.barista = {
            enable = lib.mkEnableOption "barista, the diskless café";
            package = lib.mkOption {
              type = lib.types.package;
              default = self.packages.${pkgs.stdenv.hostPlatform.system}.default;
              description = "The barista to run.";
            };
            repository = lib.mkOption {
              type = lib.types.path;
              default = "/srv/cafe.git";
              description = "The bare git repository the café is pushed to; it is made when it is not there.";
            };
            state = lib.mkOption {
              type = lib.types.path;
              default = "/var/lib/barista";
              description = "Where barista keeps the boot table, leases, transcripts and image sources.";
            };
            loaders = lib.mkOption {
              type = lib.types.path;
              default = pkgs.ipxe;
              defaultText = lib.literalExpression "pkgs.ipxe";
              description = "Where undionly.kpxe, snponly.efi and ipxe.efi lie; name it as loaders in [boot] of site.toml.";
            };
            openFirewall = lib.mkEnableOption "the ports of DHCP, PXE, TFTP, HTTP (8080) and iSCSI in the firewall";
          };

          config = lib.mkIf cfg.enable {
            assertions = [
              {
                # It restores a saved copy of the targets, stale by then, and clears all of configfs when it stops.
                assertion = !config.services.target.enable;
                message = "services.barista and services.target cannot share the kernel's iSCSI targets";
              }
            ];
            boot.kernelModules = [
              "configfs"
              "target_core_mod"
              "target_core_iblock"
              "iscsi_target_mod"
              "dm_thin_pool"
            ];
            services.lvm.boot.thin.enable = lib.mkDefault true;
            environment.systemPackages = [ cfg.package ];
            environment.etc."barista/loaders".source = cfg.loaders;

            users.users.barista = {
              isSystemUser = true;
              group = "barista";
              description = "barista boot services";
            };
            users.groups.barista = { };
            systemd.tmpfiles.rules = [
              "d ${cfg.state} 0755 root root"
              "d ${cfg.state}/serve 0755 barista barista"
            ];

            networking.firewall = lib.mkIf cfg.openFirewall {
              allowedUDPPorts = [
                67
                69
                4011
              ];
              allowedTCPPorts = [
                8080
                3260
              ];
            };

            systemd.services.barista-agent = {
              description = "barista agent: keeps this host at the pushed commit";
              wantedBy = [ "multi-user.target" ];
              wants = [ "network-online.target" ];
              # The kernel forgets every iSCSI target at a reboot; the agent rebuilds them from the last good commit.
              after = [
                "network-online.target"
                "sys-kernel-config.mount"
                "local-fs.target"
                "systemd-tmpfiles-setup.service"
              ];
              path = with pkgs; [
                lvm2
                thin-provisioning-tools
                kmod
                qemu-utils
                git
              ];
              serviceConfig = sandbox // {
                Type = "notify";
                # The repository may not be there yet, and a path that is not cannot be opened for writing.
                ExecStartPre = "+${barista} init ${cfg.repository} --state ${cfg.state}";
                ExecStart = "${barista} agent --repo ${cfg.repository} --state ${cfg.state}";
                Restart = "on-failure";
                RestartSec = 5;
                TimeoutStopSec = 180;
                KillMode = "mixed";
                CapabilityBoundingSet = [
                  "CAP_SYS_ADMIN"
                  "CAP_SYS_MODULE"
                  "CAP_SYS_NICE"
                  "CAP_IPC_LOCK"
                  "CAP_MKNOD"
                  "CAP_DAC_OVERRIDE"
                  "CAP_DAC_READ_SEARCH"
                  "CAP_CHOWN"
                  "CAP_FOWNER"
                ];
                ReadWritePaths = [
                  cfg.state
                  "-${cfg.repository}"
                  "-/etc/lvm"
                  "-/run"
                ];
                ProtectHome = "read-only";
                RestrictAddressFamilies = [
                  "AF_UNIX"
                  "AF_INET"
                  "AF_NETLINK"
                ];
              };
            };

            systemd.services.barista-serve = {
              description = "barista serve: DHCP, TFTP and HTTP for booting machines";
              wantedBy = [ "multi-user.target" ];
              wants = [ "network-online.target" ];
              after = [
                "network-online.target"
                "systemd-tmpfiles-setup.service"
              ];
              serviceConfig = sandbox // {
                Type = "notify";
                User = "barista";
                Group = "barista";
                ExecStart = "${barista} serve --state ${cfg.state}";
                Restart = "always";
                RestartSec = 2;
                AmbientCapabilities = [
                  "CAP_NET_BIND_SERVICE"
                  "CAP_NET_RAW"
                ];
                CapabilityBoundingSet = [
                  "CAP_NET_BIND_SERVICE"
                  "CAP_NET_RAW"
                ];
                ReadWritePaths = [ "${cfg.state}/serve" ];
                ProtectHome = true;
                PrivateDevices = true;
                ProtectKernelModules = true;
                ProtectKernelTunables = true;
                ProtectProc = "invisible";
                RestrictAddressFamilies = [
                  "AF_UNIX"
                  "AF_INET"
                  "AF_INET6"
                  "AF_NETLINK"
                  "AF_PACKET"
                ];
                SystemCallFilter = "@system-service";
              };
            };
          };
        };
    };
}
