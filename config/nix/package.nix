# cardume from this tree: pkgs.callPackage ./package.nix { }
{ lib, rustPlatform, installShellFiles, stdenv }:
rustPlatform.buildRustPackage {
  pname = "cardume";
  version = (lib.importTOML ../../Cargo.toml).workspace.package.version;
  src = lib.cleanSource ../..;
  cargoLock.lockFile = ../../Cargo.lock;
  cargoBuildFlags = [ "--package" "cardume" ];
  # They need hosts, disks and ports of their own.
  doCheck = false;
  nativeBuildInputs = [ installShellFiles ];
  postInstall = lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
    $out/bin/cardume --quiet man man
    installManPage man/*.1
    for shell in bash fish zsh; do
      $out/bin/cardume completions $shell > cardume.$shell
      installShellCompletion --$shell --name cardume.$shell cardume.$shell
    done
  '' + ''
    mkdir -p $out/lib/systemd/system
    # The program and its libraries lie in the store.
    for unit in cardume.service cardume.socket; do
      sed -e "s,/usr/bin/cardume,$out/bin/cardume,g" -e 's,-/usr/lib -/usr/lib64,/nix/store,' \
        config/systemd/$unit > $out/lib/systemd/system/$unit
    done
  '';
  meta = {
    description = "Peer-to-peer node that shares files and needs no server";
    license = with lib.licenses; [ mit asl20 ];
    platforms = lib.platforms.linux;
    mainProgram = "cardume";
  };
}
