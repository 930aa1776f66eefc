BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE cases (
	id VARCHAR(32) NOT NULL, 
	number INTEGER NOT NULL, 
	source TEXT NOT NULL, 
	options JSON NOT NULL, 
	shape JSON NOT NULL, 
	fingerprint VARCHAR(64) NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	added FLOAT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (number)
);
INSERT INTO "cases" VALUES('d9fe060e428e1825dec235f461ee0655',1,'scan.nii.gz','{"modality": "CT"}','[2, 4, 5]','ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff','new',1.79581880845022106175e+09);
CREATE TABLE heads (
	case_id VARCHAR(32) NOT NULL, 
	annotator VARCHAR(64) NOT NULL, 
	revision INTEGER, 
	version INTEGER NOT NULL, 
	PRIMARY KEY (case_id, annotator), 
	FOREIGN KEY(case_id) REFERENCES cases (id), 
	FOREIGN KEY(revision) REFERENCES revisions (id)
);
INSERT INTO "heads" VALUES('d9fe060e428e1825dec235f461ee0655','ana',2,2);
CREATE TABLE moves (
	id INTEGER NOT NULL, 
	case_id VARCHAR(32) NOT NULL, 
	annotator VARCHAR(64) NOT NULL, 
	kind VARCHAR(8) NOT NULL, 
	revision INTEGER, 
	at FLOAT NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(case_id) REFERENCES cases (id), 
	FOREIGN KEY(revision) REFERENCES revisions (id)
);
INSERT INTO "moves" VALUES(1,'d9fe060e428e1825dec235f461ee0655','ana','save',1,1.79581880850094270703e+09);
INSERT INTO "moves" VALUES(2,'d9fe060e428e1825dec235f461ee0655','ana','save',2,1.79581880851879310606e+09);
CREATE TABLE objects (
	case_id VARCHAR(32) NOT NULL, 
	label INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	color JSON, 
	code JSON, 
	PRIMARY KEY (case_id, label), 
	FOREIGN KEY(case_id) REFERENCES cases (id)
);
INSERT INTO "objects" VALUES('d9fe060e428e1825dec235f461ee0655',5,'liver','[1, 2, 3]','["SCT", "10200004", "Liver"]');
CREATE TABLE phases (
	id INTEGER NOT NULL, 
	case_id VARCHAR(32) NOT NULL, 
	annotator VARCHAR(64) NOT NULL, 
	phase VARCHAR(16) NOT NULL, 
	started FLOAT NOT NULL, 
	active FLOAT NOT NULL, 
	idle FLOAT NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(case_id) REFERENCES cases (id)
);
CREATE TABLE revisions (
	id INTEGER NOT NULL, 
	case_id VARCHAR(32) NOT NULL, 
	annotator VARCHAR(64) NOT NULL, 
	parent INTEGER, 
	kind VARCHAR(16) NOT NULL, 
	at FLOAT NOT NULL, 
	event JSON NOT NULL, 
	locked JSON NOT NULL, 
	mask BLOB NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(case_id) REFERENCES cases (id), 
	FOREIGN KEY(parent) REFERENCES revisions (id)
);
INSERT INTO "revisions" VALUES(1,'d9fe060e428e1825dec235f461ee0655','ana',NULL,'model',1.7958188084892139435e+09,'{"weights": "abc"}','{}',X'4D4C52310200000004000000050000000300000000000000789C636060616060600762462056006200012E002D');
INSERT INTO "revisions" VALUES(2,'d9fe060e428e1825dec235f461ee0655','ana',1,'edit',1.79581880851709127424e+09,'{}','{"5": [0]}',X'4D4C52310200000004000000050000000300000000000000789C636060656060600762462056006200013E002E');
CREATE TABLE settings (
	"key" VARCHAR(64) NOT NULL, 
	value JSON NOT NULL, 
	PRIMARY KEY ("key")
);
CREATE INDEX ix_revisions_case_id ON revisions (case_id);
CREATE INDEX ix_moves_case_id ON moves (case_id);
CREATE INDEX ix_phases_case_id ON phases (case_id);
COMMIT;
