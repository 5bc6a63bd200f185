-- What the store is, in the order in which a request meets it. It may be run again and again, by any number of agents at once.
select pg_advisory_xact_lock(hashtext('tanist.dcs'));

-- One row, which every change locks first: changes happen one after the other, and are numbered.
create table if not exists dcs_store (
	one     bool   primary key default true check (one),
	id      text   not null default gen_random_uuid()::text, -- another value: another store
	version bigint not null default 0
);
insert into dcs_store default values on conflict do nothing;

-- A session lives until its row is deleted, and nobody deletes it before "ends" (by this server's clock, and no agent's).
create table if not exists dcs_session (
	id   uuid        primary key default gen_random_uuid(),
	ttl  interval    not null,
	ends timestamptz not null
);
create table if not exists dcs_key (
	key     text   collate "C" primary key,
	value   bytea  not null,
	version bigint not null, -- of the last write
	created bigint not null, -- of the first one since the key was absent: no two lives of a key have the same
	session uuid   references dcs_session
);

-- Ends the sessions that are overdue, or one, with their keys.
create or replace function dcs_end(which uuid default null) returns void language plpgsql as $$
declare
	gone text;
begin
	if not exists (select from dcs_session where id = which or ends <= clock_timestamp()) then
		return;
	end if;
	update dcs_store set version = version + 1;
	for gone in
		with over as (delete from dcs_session where id = which or ends <= clock_timestamp() returning id)
		delete from dcs_key k using over where k.session = over.id returning key
	loop
		perform pg_notify('dcs', gone);
	end loop;
end $$;

-- Ends the request, and with it its transaction, unless ok.
create or replace function dcs_require(ok bool, code text) returns void language plpgsql as $$
begin
	if ok is not true then
		raise exception 'a condition does not hold' using errcode = code;
	end if;
end $$;
